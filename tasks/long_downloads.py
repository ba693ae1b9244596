"""Downloads that take longer than a task may: a few go on in their threads after it, the others are set down."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from worker.ledger.assets import ArchiveClaim
from worker.runtime import shutdown

#: seconds after which a download needs one of the few places; with a stall it ends well within a task's time limit
SLICE = 20.0
#: seconds that each download of a claim has at least
LEAST = 10.0
#: seconds after which it makes room for others all the same
LONGEST = 900.0


class LongDownloads:
    """The places of this process for downloads that take long; safe to share among threads."""

    def __init__(self, places: int) -> None:
        self._lock = threading.Lock()
        self._places = places
        #: leases and ids of claims
        self._held: set[tuple[str, str]] = set()

    @contextmanager
    def turn(self, claim: ArchiveClaim) -> Iterator["Turn"]:
        """While one thread works on a claim."""
        turn = Turn(self, _name(claim))
        try:
            yield turn
        finally:
            with self._lock:
                self._held.discard(turn.name)

    def holds(self, claim: ArchiveClaim) -> bool:
        """Whether it may go on for long."""
        with self._lock:
            return _name(claim) in self._held

    def take(self, name: tuple[str, str]) -> bool:
        with self._lock:
            if name not in self._held and len(self._held) < self._places:
                self._held.add(name)
            return name in self._held


class Turn:
    """For how long the work on one claim may go on downloading."""

    def __init__(self, places: LongDownloads, name: tuple[str, str]) -> None:
        self.name = name
        self._places = places
        self._began = time.monotonic()
        self._until = self._began + SLICE

    def begin(self) -> None:
        """Another download of this claim begins."""
        self._until = max(self._began + SLICE, time.monotonic() + LEAST)

    def may_go_on(self) -> bool:
        """What is short may still end while the worker stops; what takes long may not."""
        now = time.monotonic()
        if now < self._until:
            return True
        return now < self._began + LONGEST and not shutdown.is_asked() and self._places.take(self.name)


def _name(claim: ArchiveClaim) -> tuple[str, str]:
    return claim.lease, claim.generation.id
