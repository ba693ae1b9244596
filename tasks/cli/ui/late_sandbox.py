"""The sandbox of `darkroom up`: started when the first test needs it, so that nobody else pays for its memory."""

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

#: seconds between two looks
_PAUSE = 1.0


class LateSandbox:
    """`port`: where it will listen; None if somebody else runs it."""

    def __init__(self, running: Embedded, settings: Settings, port: int | None, signals: StopSignals) -> None:
        self._running = running
        self._signals = signals
        self._here = LedgerAlone(settings)
        self._port = port

    def wait(self, seconds: float) -> bool:
        """As the signals do, and start the sandbox once a test, or a token for tests, needs it."""
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
        """Once: the supervisor keeps it running."""
        self._port = None
        note("there is a test: starting the sandbox")
        command = (sys.executable, "-m", "webhook.sandbox", "--port", str(port), "--quiet")
        # The C library would keep 200 MB for the threads that once drew an image, a heap for each of them.
        env = {**receiver_environment(self._running.env), "MALLOC_ARENA_MAX": "1"}
        answers = partial(http_answers, LOOPBACK, port, "/livez")
        try:
            self._running.supervisor.start(Child(name="sandbox", argv=command, env=env, ready=answers))
        except KeyboardInterrupt:
            # The signals say so, too.
            return
        except ConfigurationError as error:
            # Everything else goes on.
            note(f"the sandbox is not running, so tests wait: {error}")

    def _is_needed(self) -> bool:
        # While the ledger is away, which the workers explain, nobody knows.
        with suppress(DarkroomError):
            return needs_sandbox(self._here)
        return False
