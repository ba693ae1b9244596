"""Downloads that outlast a task: a few continue in their threads, the others are suspended and resumed later."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from worker.ledger.assets import ArchiveClaim
from worker.runtime import shutdown

#: seconds after which a download needs one of the few places; even if it stalls, it ends within a task's time limit
SLICE = 20.0
#: the minimum for each download of a claim, in seconds
LEAST = 10.0
#: seconds after which a download makes room for others in any case
LONGEST = 900.0


class LongDownloads:
    """A process's places for long downloads; thread-safe."""

    def __init__(self, places: int) -> None:
        self._lock = threading.Lock()
        self._places = places
        #: (lease, id) of claims
        self._held: set[tuple[str, str]] = set()

    @contextmanager
    def turn(self, claim: ArchiveClaim) -> Iterator["Turn"]:
        """Yield a thread's turn while it works on a claim."""
        turn = Turn(self, _name(claim))
        try:
            yield turn
        finally:
            with self._lock:
                self._held.discard(turn.name)

    def holds(self, claim: ArchiveClaim) -> bool:
        """Return whether the claim has one of the places."""
        with self._lock:
            return _name(claim) in self._held

    def take(self, name: tuple[str, str]) -> bool:
        with self._lock:
            if name not in self._held and len(self._held) < self._places:
                self._held.add(name)
            return name in self._held


class Turn:
    """The time that the work on one claim may spend on downloads."""

    def __init__(self, places: LongDownloads, name: tuple[str, str]) -> None:
        self.name = name
        self._places = places
        self._began = time.monotonic()
        self._until = self._began + SLICE

    def begin(self) -> None:
        """Start another download of this claim."""
        self._until = max(self._began + SLICE, time.monotonic() + LEAST)

    def may_go_on(self) -> bool:
        """Return whether to continue: short downloads may finish while the worker stops, long ones may not."""
        now = time.monotonic()
        if now < self._until:
            return True
        return now < self._began + LONGEST and not shutdown.is_asked() and self._places.take(self.name)


def _name(claim: ArchiveClaim) -> tuple[str, str]:
    return claim.lease, claim.generation.id
