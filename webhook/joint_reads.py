"""Joint reads: one thread reads for all who ask at the same moment, in one question to the database.

Twenty threads that ask the database each for itself take the interpreter from one another at every statement, which
makes all of them slow, and doubles the work. Those who wait for a lock do not ask for the interpreter.
"""

from collections.abc import Callable, Mapping, Sequence
from threading import Lock
from typing import Generic, TypeVar

from worker.errors import LedgerUnavailable

V = TypeVar("V")

#: seconds after which somebody reads alone: one connection that hangs must not stop all
PATIENCE = 1.0


class _Group(Generic[V]):
    """Those who ask while another group reads. Whoever has `lock` first reads for all, the others find it done."""

    def __init__(self) -> None:
        self.keys: set[str] = set()
        self.lock = Lock()
        self.is_closed = False
        #: None before the end, and if it failed in a way that may concern one key alone
        self.found: Mapping[str, V] | None = None
        self.error: LedgerUnavailable | None = None


class JointReads(Generic[V]):
    """`read`: what there is of these keys, by key; called by one thread at a time."""

    def __init__(self, read: Callable[[Sequence[str]], Mapping[str, V]], *, patience: float = PATIENCE) -> None:
        self._read = read
        self._patience = patience
        self._joining = Lock()
        self._turn = Lock()
        self._next: _Group[V] = _Group()

    def get(self, key: str) -> V | None:
        """Return what was committed before this call, or later; None if there is nothing. Raises LedgerUnavailable."""
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
        """Read for all of the group, unless the one before it takes too long: then it stays open for another try."""
        if not self._turn.acquire(timeout=self._patience):
            return
        try:
            with self._joining:
                # Before the read begins: whoever comes later may know of a later commit.
                self._next = _Group()
                group.is_closed = True
            group.found = self._read(sorted(group.keys))
        except LedgerUnavailable as error:
            group.error = error
        except Exception:  # noqa: BLE001  each reads alone, and meets what concerns it
            return
        finally:
            self._turn.release()
