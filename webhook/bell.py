"""One bell for many callbacks, rung by a thread of its own: a request never waits for the broker."""

import logging
import threading
import time
from collections.abc import Callable

log = logging.getLogger(__name__)

#: seconds between two bells: a publish costs as much as ten callbacks, and a picture took a minute to make
PAUSE = 0.1
#: seconds after a bell that the broker did not take; the clock's own bells cover for it
PAUSE_AFTER_FAILURE = 1.0


class Bell:
    """`ring` says whether the broker took it; it may block for as long as it likes."""

    def __init__(
        self, ring: Callable[[], bool], *, pause: float = PAUSE, pause_after_failure: float = PAUSE_AFTER_FAILURE
    ) -> None:
        self._ring = ring
        self._pause = pause
        self._pause_after_failure = pause_after_failure
        self._pressed = threading.Event()
        self._starting = threading.Lock()
        self._ringer: threading.Thread | None = None

    def press(self) -> None:
        """Have it rung soon, once for all who press before it rings."""
        if not self._pressed.is_set():
            self._pressed.set()
        if self._ringer is None:
            self._start()

    def _start(self) -> None:
        # Not in __init__: a thread does not outlive a fork of the server.
        with self._starting:
            if self._ringer is None:
                # A daemon: a bell that is lost at the end is rung by the clock.
                self._ringer = threading.Thread(target=self._ring_for_ever, name="bell", daemon=True)
                self._ringer.start()

    def _ring_for_ever(self) -> None:
        while True:
            self._pressed.wait()
            self._pressed.clear()
            time.sleep(self._pause if self._rings() else self._pause_after_failure)

    def _rings(self) -> bool:
        try:
            return self._ring()
        except Exception:
            log.exception("the bell could not be rung")
            return False
