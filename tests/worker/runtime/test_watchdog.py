"""A process in which something hangs ends with a failure; one that was only stopped goes on where it was."""

import os
import signal
import subprocess
import sys
import time

import pytest

pytestmark = pytest.mark.processes

#: seconds that a process takes for itself, however busy the machine is
PATIENCE = 30
_BEGIN = """
import logging, sys, time
from worker.runtime import watchdog
logging.basicConfig()
"""


def run(script: str) -> "subprocess.CompletedProcess[str]":
    command = (sys.executable, "-u", "-c", _BEGIN + script)
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)


def test_a_process_whose_work_hangs_ends_with_a_failure_and_says_where() -> None:
    done = run("""
def wait_for_ever():
    time.sleep(3600)
with watchdog.limit("the task dispatch", 1):
    wait_for_ever()
""")
    assert done.returncode == 1
    assert "this process ends and must be restarted: the task dispatch did not finish within 1 s" in done.stderr
    assert "in wait_for_ever" in done.stderr


def test_work_that_ends_or_fails_in_time_is_not_watched_any_longer() -> None:
    done = run("""
with watchdog.limit("outer", 60):
    with watchdog.limit("inner", 1):
        pass
    try:
        with watchdog.limit("failing", 1):
            raise ValueError
    except ValueError:
        pass
    time.sleep(2.5)
""")
    assert (done.returncode, done.stderr) == (0, "")


def test_work_that_tells_that_it_goes_on_may_take_as_long_as_it_likes() -> None:
    done = run("""
with watchdog.limit("the event loop", 2) as goes_on:
    for _ in range(40):
        time.sleep(0.1)
        goes_on()
    print("4 seconds")
    time.sleep(3600)
""")
    assert (done.returncode, done.stdout) == (1, "4 seconds\n")


def test_another_thread_that_goes_on_saves_nobody() -> None:
    done = run("""
import threading
with watchdog.limit("busy", 60):
    with watchdog.limit("quick", 1):
        pass
    def hang():
        with watchdog.limit("hanging", 1):
            threading.Event().wait()
    threading.Thread(target=hang).start()
    while True:
        time.sleep(0.01)
""")
    assert done.returncode == 1
    assert "hanging did not finish" in done.stderr


def test_time_in_which_the_process_was_stopped_does_not_count() -> None:
    script = """
with watchdog.limit("a paid POST", 4):
    print("begun", flush=True)
    sys.stdin.readline()
"""
    with subprocess.Popen(
        (sys.executable, "-u", "-c", _BEGIN + script), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin
        assert process.stdout
        assert process.stdout.readline() == "begun\n"
        os.kill(process.pid, signal.SIGSTOP)
        time.sleep(5)
        os.kill(process.pid, signal.SIGCONT)
        # The watchdog has looked before the answer comes.
        time.sleep(0.5)
        process.stdin.write("the answer\n")
        process.stdin.flush()
        assert process.wait(PATIENCE) == 0


def test_a_log_that_nobody_reads_holds_up_no_end() -> None:
    script = """
import os
os.set_blocking(2, False)
try:
    while True:
        os.write(2, b"x" * 65536)
except BlockingIOError:
    os.set_blocking(2, True)
with watchdog.limit("hanging", 1):
    time.sleep(3600)
"""
    command = (sys.executable, "-u", "-c", _BEGIN + script)
    with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
        assert process.wait(PATIENCE) == 1


def test_a_task_ends_its_process_where_no_pool_does() -> None:
    done = run("""
from worker import celery
celery._LAST_SECONDS = 1
celery.DrainingTask.shows_life = False
@celery.app.task(name="hanging")
def hanging():
    time.sleep(3600)
hanging()
""")
    assert done.returncode == 1
    assert "the task hanging did not finish within 1 s" in done.stderr
