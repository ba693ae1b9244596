"""Children start in order, come back when they die, and never outlive their parent."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.patience import patient, wait_for
from worker.embedded.processes import LONGEST_LINE_BYTES, Child, Supervisor, next_pause, print_line
from worker.embedded.stop_signals import StopSignals
from worker.errors import ConfigurationError

pytestmark = pytest.mark.processes

REPOSITORY = Path(__file__).parents[3]


class Output(list[tuple[str, str]]):
    def __call__(self, name: str, line: str) -> None:
        self.append((name, line))

    def of(self, name: str) -> list[str]:
        return [line for who, line in self if who == name]


@pytest.fixture
def output() -> Output:
    return Output()


@pytest.fixture
def supervisor(output: Output) -> Iterator[Supervisor]:
    with Supervisor(output, ready_seconds=10, stop_seconds=5) as supervisor:
        yield supervisor


def is_written(file: Path) -> bool:
    """A shell makes a file before it writes to it."""
    return file.exists() and file.read_text() != ""


def shell(name: str, script: str, ready: Callable[[], bool] | None = None) -> Child:
    return Child(name=name, argv=("/bin/sh", "-c", script), env=dict(os.environ), ready=ready)


def eventually(holds: Callable[[], object], seconds: float = 8) -> bool:
    return bool(wait_for(holds, seconds, pause=0.02))


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_stage_starts_when_the_stage_before_is_ready(supervisor: Supervisor, tmp_path: Path) -> None:
    server = tmp_path / "server"
    supervisor.start(shell("server", f"sleep 0.3; touch {server}; exec sleep 60", server.exists))
    assert server.exists()
    client = tmp_path / "client"
    supervisor.start(shell("client", f"test -e {server} && touch {client}; exec sleep 60", client.exists))


def test_a_child_that_dies_is_started_again_and_says_so(supervisor: Supervisor, output: Output, tmp_path: Path) -> None:
    lives = tmp_path / "lives"
    supervisor.start(shell("web", f"echo life >> {lives}; sleep 0.2; exit 3", lives.exists))
    assert eventually(lambda: lives.read_text().count("life") >= 2)
    assert output.of("web")[:2] == ["-- exited with code 3 --", "-- restarting in 1 s --"]


def test_a_killed_child_is_started_again(supervisor: Supervisor, output: Output, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    supervisor.start(shell("web", f"echo $$ >> {pids}; exec sleep 60", lambda: is_written(pids)))
    os.kill(int(pids.read_text()), signal.SIGKILL)
    assert eventually(lambda: len(pids.read_text().split()) == 2)
    assert output.of("web")[0] == "-- was killed by signal 9 (Killed) --"


def test_what_a_dead_child_has_left_behind_is_gone_before_it_starts_again(
    supervisor: Supervisor, output: Output, tmp_path: Path
) -> None:
    pid = tmp_path / "pid"
    supervisor.start(shell("web", f"sleep 60 & echo $! > {pid}; sleep 0.2; exit 1", lambda: is_written(pid)))
    left_behind = int(pid.read_text())
    assert eventually(lambda: "-- exited with code 1 --" in output.of("web"))
    assert not alive(left_behind)


def test_pauses_grow_to_half_a_minute_and_are_forgotten_after_a_steady_life() -> None:
    pauses = [next_pause(0, 0)]
    while len(pauses) < 7:
        pauses.append(next_pause(pauses[-1], 5))
    assert pauses == [1, 2, 4, 8, 16, 30, 30]
    assert next_pause(30, 61) == 1


def test_a_child_that_ends_before_it_is_ready_is_an_error_with_its_last_lines(supervisor: Supervisor) -> None:
    with pytest.raises(ConfigurationError) as error:
        supervisor.start(shell("broker", "echo one; echo cannot open the file >&2; exit 7", lambda: False))
    assert str(error.value) == "broker exited with code 7; its last lines:\n  one\n  cannot open the file"


def test_without_a_readiness_check_a_child_must_live_for_a_moment(supervisor: Supervisor) -> None:
    with pytest.raises(ConfigurationError, match="worker exited with code 4 and wrote nothing"):
        supervisor.start(shell("worker", "sleep 0.4; exit 4"))


def test_a_child_that_never_gets_ready_is_an_error_and_does_not_stay(output: Output, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    with (
        pytest.raises(ConfigurationError, match=r"^s3 was not ready after 0\.5 s; its last lines:\n  hello$"),
        Supervisor(output, ready_seconds=0.5) as supervisor,
    ):
        supervisor.start(shell("s3", f"echo $$ > {pid}; echo hello; exec sleep 60", lambda: False))
    assert not alive(int(pid.read_text()))


def test_a_program_that_does_not_exist_is_an_error(supervisor: Supervisor) -> None:
    with pytest.raises(ConfigurationError, match=r"(?s)web exited with code 127.*no-such-program.*not found"):
        supervisor.start(Child(name="web", argv=("no-such-program",), env={}, ready=lambda: False))


def test_a_working_folder_that_does_not_exist_is_an_error(supervisor: Supervisor, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"web could not be started: .*No such file or directory.*nowhere"):
        supervisor.start(Child(name="web", argv=("true",), env={}, ready=lambda: False, cwd=tmp_path / "nowhere"))


def test_a_release_command_runs_to_its_end(supervisor: Supervisor, output: Output) -> None:
    supervisor.run(shell("release", "sleep 0.2; echo upgraded"))
    assert "upgraded" in output.of("release")


def test_a_release_command_that_fails_is_an_error_with_its_output(supervisor: Supervisor) -> None:
    with pytest.raises(ConfigurationError, match=r"release exited with code 2; its last lines:\n  no such table"):
        supervisor.run(shell("release", "echo no such table; exit 2"))


def test_a_child_that_ignores_sigterm_is_killed_after_the_grace(output: Output, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    with Supervisor(output, stop_seconds=0.5) as supervisor:
        deaf = f"trap '' TERM; echo $$ > {pid}; while :; do sleep 0.1; done"
        supervisor.start(shell("deaf", deaf, lambda: is_written(pid)))
        started = time.monotonic()
    assert time.monotonic() - started >= 0.5
    assert not alive(int(pid.read_text()))
    assert output.of("deaf") == ["-- did not stop in time; killing it --"]


def test_stages_stop_in_reverse_and_the_children_of_one_stage_together(output: Output, tmp_path: Path) -> None:
    def child(name: str, waits_for: str) -> Child:
        """It stops once the other has been told to stop."""
        ready, told, other = (tmp_path / one for one in (name, f"{name} told", f"{waits_for} told"))
        stop = f'touch "{told}"; until [ -e "{other}" ]; do sleep 0.02; done; echo stopped; exit'
        return shell(name, f"trap '{stop}' TERM; touch {ready}; while :; do sleep 0.05; done", ready.exists)

    with Supervisor(output, stop_seconds=patient(10)) as supervisor:
        supervisor.start(child("broker", "broker"))
        supervisor.start(child("worker", "clock"), child("clock", "worker"))
    stopped = [name for name, line in output if line == "stopped"]
    assert sorted(stopped[:2]) == ["clock", "worker"]
    assert stopped[2:] == ["broker"]


def test_a_child_in_its_pause_is_not_started_again_by_a_stop(output: Output, tmp_path: Path) -> None:
    lives = tmp_path / "lives"
    with Supervisor(output) as supervisor:
        supervisor.start(shell("web", f"echo life >> {lives}; sleep 0.2; exit 1", lives.exists))
        assert eventually(lambda: output.of("web"))
    assert lives.read_text() == "life\n"


def test_sigterm_goes_to_the_program_and_not_to_what_it_started(supervisor: Supervisor, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    pool = f"trap 'echo pool >> {seen}; exit' TERM; touch {tmp_path}/up; while :; do sleep 0.05; done"
    program = f"trap 'sleep 0.3; echo program >> {seen}; exit' TERM; ({pool}) & while :; do sleep 0.05; done"
    supervisor.start(shell("worker", program, (tmp_path / "up").exists))
    supervisor.stop()
    assert seen.read_text() == "program\n"


def test_the_terminal_reaches_the_parent_only(supervisor: Supervisor, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    supervisor.start(shell("web", f"echo $$ > {pid}; exec sleep 60", lambda: is_written(pid)))
    assert os.getsid(int(pid.read_text())) == int(pid.read_text()) != os.getsid(0)


def test_long_and_broken_lines_are_forwarded_in_one_piece_each(supervisor: Supervisor, output: Output) -> None:
    script = r"head -c 100000 /dev/zero | tr '\0' x; echo; printf 'caf\351\r\nend'"
    supervisor.run(shell("web", script))
    lines = output.of("web")
    assert lines[0] == "x" * LONGEST_LINE_BYTES
    assert lines[1:3] == ["caf\N{REPLACEMENT CHARACTER}", "end"]


def test_a_child_cannot_read_the_terminal(supervisor: Supervisor, output: Output) -> None:
    supervisor.run(shell("web", "cat; echo end of input"))
    assert output.of("web")[0] == "end of input"


def test_a_closed_terminal_does_not_stop_the_forwarding(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w", buffering=1, closefd=True) as closed:
        monkeypatch.setattr(sys, "stderr", closed)
        print_line("web", "hello")
        monkeypatch.undo()
        with pytest.raises(BrokenPipeError):
            closed.write("so it is really closed\n")
        os.dup2(os.open(os.devnull, os.O_WRONLY), closed.fileno())


def test_children_live_on_when_the_guardian_is_killed(supervisor: Supervisor, output: Output, tmp_path: Path) -> None:
    supervisor._guardian._process.kill()
    supervisor._guardian._process.wait()
    lives = tmp_path / "lives"
    supervisor.start(shell("web", f"echo life >> {lives}; sleep 0.2; exit 3", lives.exists))
    assert eventually(lambda: lives.read_text().count("life") >= 2)


def test_an_interruption_while_starting_stops_what_has_started(output: Output, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    with pytest.raises(KeyboardInterrupt), Supervisor(output, lambda: is_written(pid)) as supervisor:
        supervisor.start(shell("s3", f"echo $$ > {pid}; exec sleep 60", lambda: False))
    assert not alive(int(pid.read_text()))


def test_an_interruption_ends_a_release_command(output: Output, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    with pytest.raises(KeyboardInterrupt), Supervisor(output, lambda: is_written(pid)) as supervisor:
        supervisor.run(shell("release", f"echo $$ > {pid}; exec sleep 60"))
    assert not alive(int(pid.read_text()))


# --- a parent of its own ----------------------------------------------------------------------------------------------

PARENT = """
    import os, sys
    from pathlib import Path
    from worker.embedded.processes import Child, Supervisor
    from worker.embedded.stop_signals import StopSignals

    here = Path(sys.argv[1])
    stubborn = f"trap '' TERM HUP INT; sleep 300 & echo $! > {here}/pool; echo $$ > {here}/program; exec sleep 301"
    with StopSignals() as signals, Supervisor(stop_seconds=0.5, interrupted=signals.received) as supervisor:
        supervisor.start(Child(
            name="worker", argv=("/bin/sh", "-c", stubborn), env=dict(os.environ), ready=(here / "program").exists))
        print("up", supervisor._guardian._process.pid, flush=True)
        signals.wait()
    print("stopped", flush=True)
"""


class Parent:
    def __init__(self, folder: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(PARENT), str(folder)],
            cwd=REPOSITORY,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout
        up, guardian = self.process.stdout.readline().split()
        assert up == "up"
        assert eventually((folder / "program").read_text)
        self.children = [int((folder / name).read_text()) for name in ("pool", "program")]
        assert all(map(alive, self.children))
        self.children.append(int(guardian))


@pytest.fixture
def parent(tmp_path: Path) -> Iterator[Parent]:
    parent = Parent(tmp_path)
    yield parent
    parent.process.kill()
    parent.process.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_stop_signal_leaves_no_child(parent: Parent, number: signal.Signals) -> None:
    parent.process.send_signal(number)
    assert parent.process.communicate(timeout=patient(5))[0] == "stopped\n"
    assert not [pid for pid in parent.children if alive(pid)]


def test_impatient_signals_do_not_disturb_the_stopping(parent: Parent) -> None:
    for _ in range(5):
        parent.process.send_signal(signal.SIGINT)
        time.sleep(0.1)
    assert parent.process.communicate(timeout=patient(5))[0] == "stopped\n"
    assert parent.process.returncode == 0
    assert not [pid for pid in parent.children if alive(pid)]


def test_a_parent_killed_without_warning_leaves_no_child(parent: Parent) -> None:
    parent.process.kill()
    parent.process.wait()
    assert eventually(lambda: not [pid for pid in parent.children if alive(pid)], seconds=2)


def test_signal_handlers_are_put_back_and_an_ignored_signal_stays_ignored() -> None:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    hangup = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopSignals() as signals:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not signals.received()
            os.kill(os.getpid(), signal.SIGTERM)
            signals.wait()
            assert signals.received()
    finally:
        signal.signal(signal.SIGHUP, hangup)
    assert {number: signal.getsignal(number) for number in before} == before
