"""Ends what would last long, when the process is to stop."""

import os
import signal
from collections.abc import Callable
from threading import Thread


class Shutdown:
    """Until `listen` is called, nothing of it happens."""

    def __init__(self) -> None:
        self._ends: list[Callable[[], None]] = []

    def add(self, end: Callable[[], None]) -> None:
        """Call this once the process is to stop; it may not raise."""
        self._ends.append(end)

    def listen(self) -> None:
        """Do so at SIGTERM or SIGINT, whatever the server makes of them. Call it in the main thread."""
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)

        def wait() -> None:
            while not {signal.SIGTERM, signal.SIGINT} & set(os.read(reader, 64)):
                pass
            for end in self._ends:
                end()

        Thread(target=wait, name="shutdown", daemon=True).start()
