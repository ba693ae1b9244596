"""Unfinished downloads that their servers can resume, bounded in number, bytes and time."""

import threading
import time

from worker.downloads.transfer import Transfer

_MOST = 8
_MOST_BYTES = 256 * 1024 * 1024
#: seconds after which the file has probably changed
_LONGEST = 3600.0


class Parked:
    """Unfinished downloads by link. Taking one removes it. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        #: oldest first
        self._kept: dict[str, tuple[Transfer, float]] = {}

    def keep(self, url: str, transfer: Transfer) -> None:
        with self._lock:
            before = self._kept.pop(url, None)
            self._kept[url] = (transfer, time.monotonic())
            if before is not None:
                before[0].close()
            while len(self._kept) > _MOST or sum(one.size for one, _ in self._kept.values()) > _MOST_BYTES:
                self._drop(next(iter(self._kept)))

    def take(self, url: str) -> Transfer | None:
        oldest = time.monotonic() - _LONGEST
        with self._lock:
            for key in [key for key, (_, since) in self._kept.items() if since < oldest]:
                self._drop(key)
            found = self._kept.pop(url, None)
        return None if found is None else found[0]

    def close(self) -> None:
        with self._lock:
            for key in list(self._kept):
                self._drop(key)

    def _drop(self, url: str) -> None:
        self._kept.pop(url)[0].close()
