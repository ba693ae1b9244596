"""Ends long-running work when the process has to stop."""

import os
import signal
from collections.abc import Callable
from threading import Thread


class Shutdown:
    """The calls to make at shutdown. Nothing happens until `listen` is called."""

    def __init__(self) -> None:
        self._ends: list[Callable[[], None]] = []

    def add(self, end: Callable[[], None]) -> None:
        """Call `end` once the process has to stop; it must not raise."""
        self._ends.append(end)

    def listen(self) -> None:
        """Make the calls at SIGTERM or SIGINT, however the server handles them. Call this in the main thread."""
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)

        def wait() -> None:
            while not {signal.SIGTERM, signal.SIGINT} & set(os.read(reader, 64)):
                pass
            for end in self._ends:
                end()

        Thread(target=wait, name="shutdown", daemon=True).start()
