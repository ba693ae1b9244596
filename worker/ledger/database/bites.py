"""Splits work on many rows into short transactions, so that others can write in between."""

import time
from collections.abc import Iterator, Sequence
from typing import TypeVar

from worker.errors import CommitUnknown, LedgerUnavailable
from worker.ledger.database.database import Database

#: rows in the first transaction, and the limits for the others
FIRST, LEAST, MOST = 100, 25, 500
#: seconds that one transaction should take, including the wait for earlier writers
SECONDS = 0.05
#: the shortest and longest pause, in seconds, between two transactions on SQLite, which has a single writer; within
#: these limits, as long as the transaction took. Without a pause, the next could begin before any other writer wakes
LEAST_PAUSE, PAUSE = 0.01, 0.05

Item = TypeVar("Item")


def takes_several(items: Sequence[Item]) -> bool:
    """Return whether `in_bites` needs more than one transaction."""
    return len(items) > FIRST


def in_bites(database: Database, items: Sequence[Item]) -> Iterator[tuple[Sequence[Item], bool]]:
    """Yield a few items at a time, and whether they are the last. The caller handles each group in one transaction."""
    size, start = FIRST, 0
    while start < len(items):
        began = time.monotonic()
        end = start + size
        yield items[start:end], end >= len(items)
        took = time.monotonic() - began
        size = max(LEAST, min(MOST, 2 * size, int(size * SECONDS / (took or SECONDS))))
        start = end
        if database.is_sqlite and start < len(items):
            time.sleep(min(PAUSE, max(LEAST_PAUSE, took)))


def incomplete(error: LedgerUnavailable, done: int, all_of_them: int) -> LedgerUnavailable:
    """Return the same error with the number of items that were done before it."""
    if not done:
        return error
    kind = CommitUnknown if isinstance(error, CommitUnknown) else LedgerUnavailable
    return kind(f"{error}; {done} of {all_of_them} are done: repeat the command for the rest; nothing is done twice")
