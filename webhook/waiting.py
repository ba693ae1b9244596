"""Requests that wait until a generation is final: one ledger query for all of them, four times a second."""

import logging
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from threading import Condition, Thread

log = logging.getLogger(__name__)

#: concurrent requests of the process, one thread each
THREADS = 128
#: how many of those may wait at once; streams and requests that wait for events take 16 each (`tests/webhook`)
MOST_WAITING = THREADS // 2
#: the longest wait, in seconds
LONGEST = 60
#: seconds between queries of the ledger
_PAUSE = 0.25

_PREFERRED = re.compile(r"(?:^|,)\s*wait\s*=\s*\"?([0-9]{1,6})\"?\s*(?=$|,|;)", re.IGNORECASE)


def preferred_wait(header: str | None) -> int | None:
    """Return the seconds that a `Prefer` header asks to wait, at most `LONGEST`; None if it asks for no wait."""
    found = _PREFERRED.search(header or "")
    return min(int(found[1]), LONGEST) if found else None


@dataclass(slots=True, eq=False)
class _Waiter:
    generation_id: str
    is_done: bool = False


class Waiting:
    """`ended` returns the ids that are final. The thread lives only while requests wait."""

    def __init__(self, ended: Callable[[Sequence[str]], Collection[str]], most: int = MOST_WAITING) -> None:
        self._ended = ended
        self._most = most
        self._changed = Condition()
        self._waiters: set[_Waiter] = set()
        self._is_asking = False
        self._is_closed = False

    def wait(self, generation_id: str, seconds: float) -> bool:
        """Wait until it is final, at most `seconds`; False at once if too many wait or the process is ending."""
        mine = _Waiter(generation_id)
        with self._changed:
            if self._is_closed or len(self._waiters) >= self._most:
                return False
            self._waiters.add(mine)
            if not self._is_asking:
                self._is_asking = True
                Thread(target=self._ask, name="waiting", daemon=True).start()
            self._changed.wait_for(lambda: mine.is_done or self._is_closed, seconds)
            self._waiters.discard(mine)
        return True

    def close(self) -> None:
        """End all waits, now and from now on."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def _ask(self) -> None:
        while True:
            with self._changed:
                ids = sorted({one.generation_id for one in self._waiters})
                if self._is_closed or not ids:
                    self._is_asking = False
                    return
            found: Collection[str] = ()
            try:
                found = self._ended(ids)
            except Exception as error:  # noqa: BLE001  each request reads the ledger when it ends, and fails then
                log.warning("could not check whether generations are final: %s: %s", type(error).__name__, error)
            with self._changed:
                for one in [one for one in self._waiters if one.generation_id in found]:
                    one.is_done = True
                    self._waiters.discard(one)
                if found:
                    self._changed.notify_all()
                self._changed.wait_for(lambda: self._is_closed, _PAUSE)
