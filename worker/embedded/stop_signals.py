"""Stop signals as a flag to check, instead of an exception at an arbitrary point."""

import math
import signal
import time
from types import FrameType
from typing import Self


class StopSignals:
    """Turns Ctrl-C, SIGTERM and a closed terminal into a flag, so that no exception can interrupt the shutdown itself.

    Main thread only. A signal that is already ignored (`nohup`) stays ignored.
    """

    def __init__(self) -> None:
        self._received = False

    def __enter__(self) -> Self:
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        self._previous = {number: signal.getsignal(number) for number in numbers}
        for number, handler in self._previous.items():
            if handler is not signal.SIG_IGN:
                signal.signal(number, self._receive)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _receive(self, _number: int, _frame: FrameType | None) -> None:
        # A plain attribute, because the interrupted code may hold an Event's lock.
        self._received = True

    def received(self) -> bool:
        return self._received

    def wait(self, seconds: float = math.inf) -> bool:
        """Wait for a signal or until the time is up; return whether a signal has arrived."""
        deadline = time.monotonic() + seconds
        while not self._received and time.monotonic() < deadline:
            time.sleep(0.1)
        return self._received
