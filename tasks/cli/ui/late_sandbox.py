"""The sandbox of `darkroom up`: started when the first test needs it, so that nobody else pays for its memory."""

import sys
from contextlib import suppress
from functools import partial

from tasks.cli.ui.output import note
from tasks.usecases.sandbox import needs_sandbox
from tasks.usecases.services import LedgerAlone
from worker.embedded import LOOPBACK, Child, Embedded, http_answers
from worker.errors import ConfigurationError, DarkroomError
from worker.settings import Settings, receiver_environment


class LateSandbox:
    """`port`: where it will listen; None if somebody else runs it."""

    def __init__(self, running: Embedded, settings: Settings, port: int | None) -> None:
        self._running = running
        self._here = LedgerAlone(settings)
        self._port = port

    def start_if_needed(self) -> None:
        """Start it once, as soon as there is a test or a token for tests; the supervisor keeps it running."""
        if self._port is None or not self._is_needed():
            return
        port, self._port = self._port, None
        note("there is a test: starting the sandbox")
        command = (sys.executable, "-m", "webhook.sandbox", "--port", str(port), "--quiet")
        # The C library would keep 200 MB for the threads that once drew an image, a heap for each of them.
        env = {**receiver_environment(self._running.env), "MALLOC_ARENA_MAX": "1"}
        answers = partial(http_answers, LOOPBACK, port, "/livez")
        try:
            self._running.supervisor.start(Child(name="sandbox", argv=command, env=env, ready=answers))
        except ConfigurationError as error:
            # Everything else goes on.
            note(f"the sandbox is not running, so tests wait: {error}")

    def close(self) -> None:
        self._here.close()

    def _is_needed(self) -> bool:
        # While the ledger is away, which the workers explain, nobody knows.
        with suppress(DarkroomError):
            return needs_sandbox(self._here)
        return False
