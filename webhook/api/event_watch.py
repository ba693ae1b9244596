"""Requests that wait for events: they share one ledger query, four times a second, and few threads wait."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock, Semaphore

#: seconds between queries of the ledger
INTERVAL = 0.25
#: a quarter of the threads of the process
MOST_WAITING = 16


class EventWatch:
    """`ask` returns the position up to which all events are present; None if that is currently unknown."""

    def __init__(self, ask: Callable[[], int | None], interval: float = INTERVAL, most: int = MOST_WAITING) -> None:
        self._ask = ask
        self._interval = interval
        self._places = Semaphore(most)
        self._lock = Lock()
        self._known: int | None = None
        self._asked_at = -interval

    @contextmanager
    def place(self) -> Iterator[bool]:
        """Take a place among the waiting requests; False if none is free, so answer at once."""
        is_free = self._places.acquire(blocking=False)
        try:
            yield is_free
        finally:
            if is_free:
                self._places.release()

    def wait_beyond(self, position: int, ends_at: float) -> int | None:
        """Return the position as soon as it exceeds `position`; None at `ends_at` (`time.monotonic`)."""
        while True:
            known = self._position()
            if known is not None and known > position:
                return known
            left = ends_at - time.monotonic()
            if left <= 0:
                return None
            time.sleep(min(left, self._interval))

    def _position(self) -> int | None:
        with self._lock:
            if time.monotonic() - self._asked_at >= self._interval:
                known = self._ask()
                # An unknown position must not reset the known one.
                self._known = self._known if known is None else known
                self._asked_at = time.monotonic()
            return self._known
