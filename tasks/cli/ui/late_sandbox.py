"""The sandbox of `darkroom up`: started when the first test needs it, so that its memory is not used otherwise."""

import sys
import time
from contextlib import suppress
from functools import partial

from tasks.cli.ui.output import note
from tasks.usecases.sandbox import needs_sandbox
from tasks.usecases.services import LedgerAlone
from worker.embedded import LOOPBACK, Child, Embedded, StopSignals, http_answers
from worker.errors import ConfigurationError, DarkroomError
from worker.settings import Settings, receiver_environment

#: seconds between checks
_PAUSE = 1.0


class LateSandbox:
    """`port`: where the sandbox will listen; None if somebody else runs it."""

    def __init__(self, running: Embedded, settings: Settings, port: int | None, signals: StopSignals) -> None:
        self._running = running
        self._signals = signals
        self._here = LedgerAlone(settings)
        self._port = port

    def wait(self, seconds: float) -> bool:
        """Wait as `StopSignals.wait` does; start the sandbox once a test or a test token needs it."""
        end = time.monotonic() + seconds
        while self._port is not None and time.monotonic() < end:
            if self._signals.wait(_PAUSE):
                return True
            if self._is_needed():
                self._start(self._port)
        return self._signals.wait(max(0.0, end - time.monotonic()))

    def close(self) -> None:
        self._here.close()

    def _start(self, port: int) -> None:
        """Start it once; the supervisor keeps it running."""
        self._port = None
        note("a test is waiting: starting the sandbox")
        command = (sys.executable, "-m", "webhook.sandbox", "--port", str(port), "--quiet")
        # Otherwise glibc keeps a heap for each thread that ever drew an image, about 200 MB in all.
        env = {**receiver_environment(self._running.env), "MALLOC_ARENA_MAX": "1"}
        answers = partial(http_answers, LOOPBACK, port, "/livez")
        try:
            self._running.supervisor.start(Child(name="sandbox", argv=command, env=env, ready=answers))
        except KeyboardInterrupt:
            # The caller sees the signal, too.
            return
        except ConfigurationError as error:
            # Everything else keeps running.
            note(f"the sandbox is not running, so tests wait: {error}")

    def _is_needed(self) -> bool:
        # Unknown while the ledger is unreachable, which the workers report.
        with suppress(DarkroomError):
            return needs_sandbox(self._here)
        return False
