"""Wakes a step from a dedicated thread, once for many requests, so that none of them waits for the broker."""

import logging
import threading
import time
from collections.abc import Callable

log = logging.getLogger(__name__)

#: seconds between wake-ups; the first of a burst is sent at once. Applying thirty callbacks together cuts the cost
#: of each to a third, and an image took a minute to make
PAUSE = 0.5
#: seconds to wait after a wake-up that the broker refused; meanwhile the sweep finds the work
PAUSE_AFTER_FAILURE = 1.0


class Waker:
    """`wake` returns whether the broker accepted the wake-up; it may block."""

    def __init__(
        self, wake: Callable[[], bool], *, pause: float = PAUSE, pause_after_failure: float = PAUSE_AFTER_FAILURE
    ) -> None:
        self._wake = wake
        self._pause = pause
        self._pause_after_failure = pause_after_failure
        self._requested = threading.Event()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None

    def request(self) -> None:
        """Request a wake-up; all requests made before it is sent share it."""
        if not self._requested.is_set():
            self._requested.set()
        if self._thread is None:
            self._start()

    def _start(self) -> None:
        # Not in __init__: a thread does not outlive a fork of the server.
        with self._starting:
            if self._thread is None:
                # A daemon: the sweep makes up for a wake-up that is lost at shutdown.
                self._thread = threading.Thread(target=self._run, name="waker", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while True:
            self._requested.wait()
            self._requested.clear()
            time.sleep(self._pause if self._woke() else self._pause_after_failure)

    def _woke(self) -> bool:
        try:
            return self._wake()
        except Exception:
            log.exception("could not send the wake-up")
            return False
