"""One thread that runs scheduled calls."""

import heapq
import itertools
import threading
import time
from collections.abc import Callable


class Timer:
    def __init__(self) -> None:
        self._wake = threading.Condition()
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="sandbox-timer", daemon=True)
        self._thread.start()

    def call_at(self, when: float, call: Callable[[], None]) -> None:
        """Run `call` at `when`, a time of `time.monotonic`. `call` must be quick, because others wait for it."""
        with self._wake:
            heapq.heappush(self._due, (when, next(self._order), call))
            self._wake.notify()

    def stop(self) -> None:
        with self._wake:
            self._stopped = True
            self._wake.notify()
        self._thread.join()

    def _run(self) -> None:
        while (call := self._next()) is not None:
            call()

    def _next(self) -> Callable[[], None] | None:
        with self._wake:
            while not self._stopped:
                wait = self._due[0][0] - time.monotonic() if self._due else None
                if wait is not None and wait <= 0:
                    return heapq.heappop(self._due)[2]
                self._wake.wait(wait)
            return None
