"""Deletes old rows in small transactions."""

import time
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime

from worker.ledger import Ledger
from worker.ledger.maintenance import Bite

#: seconds between two transactions, so that others can write
PAUSE = 0.02


def bites(ledger: Ledger, before: datetime) -> Iterator[Mapping[str, int]]:
    """Delete all rows older than `before`; yield the number of rows per table after each transaction."""
    verbs: tuple[Callable[[int], Bite], ...] = (
        lambda _: ledger.maintenance.prune_callbacks(before),
        lambda _: ledger.maintenance.prune_links(before),
        lambda after: ledger.maintenance.prune_events(before, after),
        lambda _: ledger.maintenance.prune_heartbeats(before),
    )
    for verb in verbs:
        after: int | None = 0
        while after is not None:
            bite = verb(after)
            yield bite.gone
            after = bite.after
            time.sleep(PAUSE)
