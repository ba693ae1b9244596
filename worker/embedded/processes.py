"""Child processes: started in stages, monitored, restarted when they die, and never orphaned."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Self

from worker.embedded.reaper import Guardian
from worker.errors import ConfigurationError
from worker.secrets import UMASK

#: receives a child's name and one line of its output; called from several threads and must not raise
OnOutput = Callable[[str, str], None]

READY_SECONDS = 30.0
#: longer than a worker's shutdown and granian's `--workers-kill-timeout`, shorter than a host's timeout (10 s)
STOP_SECONDS = 8.0
#: a child without a readiness check counts as ready after this time
SETTLED_SECONDS = 1.0
#: after running this long, a child is treated as if it had never failed
STEADY_SECONDS = 60.0
LONGEST_PAUSE_SECONDS = 30.0
#: large, because a traceback is one line of JSON
LONGEST_LINE_BYTES = 64 * 1024
REMEMBERED_LINES = 20


@dataclass(frozen=True, kw_only=True)
class Child:
    """A program to keep running. `ready` returns whether it can serve; without it, see SETTLED_SECONDS."""

    name: str
    argv: Sequence[str]
    env: Mapping[str, str]
    ready: Callable[[], bool] | None = None
    cwd: Path | None = None


#: routine output of the servers in every run that an operator of Darkroom cannot act on
_NOISE = re.compile(
    r"Memory overcommit must be enabled|Configuration allows spawning up to \d+ Python threads"
    r"|Websockets are not supported on WSGI|\[INFO\] (Spawning|Stopping|Started|Stopped) worker-|see ya!"
    r"|Starting s3 server on|Received SIGTERM scheduling shutdown|is now ready to exit, bye bye"
    # The S3 server tries to remove the folder of each object that it deletes.
    r"|Dir\.Remove not empty|^\s*$"
)


def without_noise(on_output: OnOutput) -> OnOutput:
    """Leave out the servers' routine output."""

    def quiet(name: str, line: str) -> None:
        if not _NOISE.search(line):
            on_output(name, line)

    return quiet


def print_line(name: str, line: str) -> None:
    """Write `name | line` to standard error."""
    with suppress(OSError, ValueError):  # a closed terminal must not stop the reader, or the child would block
        sys.stderr.write(f"{name:<7} | {line}\n")


def print_json_line(name: str, line: str) -> None:
    """Write a JSON log line, with the process's name, to standard error; wrap any other line in JSON."""
    logged = None
    with suppress(ValueError, RecursionError):
        logged = json.loads(line)
    if not isinstance(logged, dict):
        ts = datetime.now(UTC).isoformat(timespec="milliseconds")
        logged = {"ts": ts, "level": "INFO", "logger": name, "message": line}
    with suppress(OSError, ValueError):
        sys.stderr.write(f"{json.dumps({'process': name, **logged}, ensure_ascii=False)}\n")


def _never() -> bool:
    return False


class _Watched:
    """One child and the thread that keeps it alive."""

    def __init__(self, child: Child, guardian: Guardian, on_output: OnOutput, *, again: bool) -> None:
        self.child = child
        #: how its last run ended
        self.ended: str | None = None
        self.lines: deque[str] = deque(maxlen=REMEMBERED_LINES)
        self._guardian = guardian
        self._on_output = on_output
        self._again = again
        self._stopping = threading.Event()
        self._lock = threading.Lock()  # between starting the next run and `stop`
        self._process: subprocess.Popen[bytes] | None = None
        self._since = time.monotonic()
        self._thread = threading.Thread(target=self._live, name=child.name, daemon=True)
        self._thread.start()

    def is_ready(self) -> bool:
        if self.child.ready is not None:
            return self.child.ready()
        return time.monotonic() - self._since >= SETTLED_SECONDS

    def has_finished(self) -> bool:
        return not self._thread.is_alive()

    def ask_to_stop(self) -> None:
        with self._lock:
            self._stopping.set()
            if self._process is not None:
                # Only the child, not its group: each child stops its own children.
                self._process.terminate()

    def stop_by(self, deadline: float) -> None:
        self._thread.join(max(0.0, deadline - time.monotonic()))
        if self._thread.is_alive():
            with self._lock:
                if self._process is not None:
                    self._say("did not stop in time; killing it")
                    _kill_group(self._process.pid)
            self._thread.join()

    def _live(self) -> None:
        pause = 0.0
        while not self._stopping.is_set():
            self._since = time.monotonic()
            ended = self._live_once()
            if not self._stopping.is_set():
                self._say(ended)
            self.ended = ended
            if not self._again:
                return
            pause = next_pause(pause, time.monotonic() - self._since)
            if not self._stopping.wait(pause):
                self._say(f"restarting in {pause:g} s")

    def _live_once(self) -> str:
        try:
            with self._lock:
                if self._stopping.is_set():
                    return "was not started"
                self._process = process = subprocess.Popen(  # noqa: S603 - the caller's command line is the point
                    self._guardian.command(self.child.argv),
                    stdin=self._guardian.pipe,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    env=dict(self.child.env),
                    cwd=self.child.cwd,
                    umask=UMASK,
                    start_new_session=True,  # Ctrl-C reaches only the parent, which stops all in order
                )
        except OSError as error:
            return f"could not be started: {error}"
        assert process.stdout is not None  # noqa: S101 - a fact for the type checker
        reader = threading.Thread(target=self._read, args=(process.stdout,), daemon=True)
        reader.start()
        code = process.wait()
        with self._lock:
            self._process = None
        _kill_group(process.pid)  # its orphans would hold the port or the queue
        self._guardian.forget(process.pid)
        reader.join(timeout=2)
        return f"exited with code {code}" if code >= 0 else f"was killed by signal {-code} ({signal.strsignal(-code)})"

    def _read(self, stream: IO[bytes]) -> None:
        at_line_start = True
        with stream:
            while piece := stream.readline(LONGEST_LINE_BYTES):
                if at_line_start:
                    line = piece.decode("utf-8", errors="replace").rstrip("\r\n")
                    self.lines.append(line)
                    self._on_output(self.child.name, line)
                at_line_start = piece.endswith(b"\n")

    def _say(self, what: str) -> None:
        self._on_output(self.child.name, f"-- {what} --")


def next_pause(pause: float, lived: float) -> float:
    """Return the seconds before a restart: 1, 2, 4 … 30, and 1 again if the child ran long (`lived` seconds)."""
    return 1.0 if lived >= STEADY_SECONDS else min(max(1.0, pause * 2), LONGEST_PAUSE_SECONDS)


def _kill_group(group: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


class Supervisor:
    """Keeps children running until `stop`, which ends the stages in reverse order.

    It polls `interrupted` while waiting, and raises KeyboardInterrupt if that returns True.
    """

    def __init__(
        self,
        on_output: OnOutput = print_line,
        interrupted: Callable[[], bool] = _never,
        *,
        ready_seconds: float = READY_SECONDS,
        stop_seconds: float = STOP_SECONDS,
    ) -> None:
        self._on_output = on_output
        self._interrupted = interrupted
        self._ready_seconds = ready_seconds
        self._stop_seconds = stop_seconds
        self._stages: list[list[_Watched]] = []
        self._guardian = Guardian()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self, *children: Child) -> None:
        """Start one stage of children together and return once all are ready. After that, dead children are restarted.

        Raises ConfigurationError, with the child's last lines, if one dies before or takes longer than `ready_seconds`.
        """
        stage = self._watch(*children)
        deadline = time.monotonic() + self._ready_seconds
        waiting = stage
        while waiting := [watched for watched in waiting if not watched.is_ready()]:
            self._look_for_failure(stage)
            if time.monotonic() > deadline:
                raise _not_started(waiting[0], f"was not ready after {self._ready_seconds:g} s")
            time.sleep(0.05)
        self._look_for_failure(stage)

    def run(self, child: Child) -> None:
        """Run a child to its end. Raises ConfigurationError, with its last lines, unless it exits with code 0."""
        (watched,) = self._watch(child, again=False)
        while not watched.has_finished():
            if self._interrupted():
                raise KeyboardInterrupt
            time.sleep(0.05)
        if watched.ended != "exited with code 0":
            raise _not_started(watched, watched.ended or "ended")

    def stop(self) -> None:
        """Stop stage by stage, last first: SIGTERM to each child, then SIGKILL to whatever is left of its group."""
        while self._stages:
            stage = self._stages.pop()
            for watched in stage:
                watched.ask_to_stop()
            deadline = time.monotonic() + self._stop_seconds
            for watched in stage:
                watched.stop_by(deadline)
        self._guardian.close()

    def _watch(self, *children: Child, again: bool = True) -> list[_Watched]:
        stage: list[_Watched] = []
        self._stages.append(stage)
        stage.extend(_Watched(child, self._guardian, self._on_output, again=again) for child in children)
        return stage

    def _look_for_failure(self, stage: list[_Watched]) -> None:
        if self._interrupted():
            raise KeyboardInterrupt
        for watched in stage:
            if watched.ended is not None:
                raise _not_started(watched, watched.ended)


def _not_started(watched: _Watched, why: str) -> ConfigurationError:
    said = "\n".join(f"  {line}" for line in watched.lines)
    return ConfigurationError(
        f"{watched.child.name} {why}; its last lines:\n{said}"
        if said
        else f"{watched.child.name} {why} and wrote nothing"
    )
