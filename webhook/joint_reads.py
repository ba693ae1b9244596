"""Joint reads: one thread reads for all concurrent callers, in one query.

Twenty threads that each query the database contend for the interpreter at every statement, which slows all of them
down and doubles the work. Threads that wait for a lock do not contend for it.
"""

from collections.abc import Callable, Mapping, Sequence
from threading import Lock
from typing import Generic, TypeVar

from worker.errors import LedgerUnavailable

V = TypeVar("V")

#: seconds after which a caller reads alone: one hung connection must not stop all of them
PATIENCE = 1.0


class _Group(Generic[V]):
    """The callers that arrive while another group reads. The first to get `lock` reads for all of them."""

    def __init__(self) -> None:
        self.keys: set[str] = set()
        self.lock = Lock()
        self.is_closed = False
        #: None until the read ends, and if it failed in a way that may concern only one key
        self.found: Mapping[str, V] | None = None
        self.error: LedgerUnavailable | None = None


class JointReads(Generic[V]):
    """`read` returns the values that exist for these keys, by key; one thread calls it at a time."""

    def __init__(self, read: Callable[[Sequence[str]], Mapping[str, V]], *, patience: float = PATIENCE) -> None:
        self._read = read
        self._patience = patience
        self._joining = Lock()
        self._turn = Lock()
        self._next: _Group[V] = _Group()

    def get(self, key: str) -> V | None:
        """Return a value at least as recent as this call; None if there is none. Raises LedgerUnavailable."""
        with self._joining:
            group = self._next
            group.keys.add(key)
        if group.lock.acquire(timeout=self._patience):
            try:
                if not group.is_closed:
                    self._lead(group)
            finally:
                group.lock.release()
        if (error := group.error) is not None:
            # A new exception for each: the group's exception is shared with other threads.
            raise LedgerUnavailable(str(error)) from error
        found = group.found
        return (self._read([key]) if found is None else found).get(key)

    def _lead(self, group: _Group[V]) -> None:
        """Read for the whole group. If the group before it takes too long, this one stays open for another try."""
        if not self._turn.acquire(timeout=self._patience):
            return
        try:
            with self._joining:
                # Before the read begins: later callers may know of a later commit.
                self._next = _Group()
                group.is_closed = True
            group.found = self._read(sorted(group.keys))
        except LedgerUnavailable as error:
            group.error = error
        except Exception:  # noqa: BLE001  each caller then reads alone, and gets its own error
            return
        finally:
            self._turn.release()
