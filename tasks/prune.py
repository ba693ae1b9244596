"""Each hour: delete what is kept no longer (`DARKROOM_KEEP_DAYS`), a few rows at a time."""

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime

from worker import stopping
from worker.bells import ring
from worker.celery import app
from worker.ledger import Ledger
from worker.ledger.maintenance import Bite
from worker.services import services

log = logging.getLogger(__name__)

#: seconds after which other kinds of work get their turn
SLICE = 10.0
#: seconds between two transactions, in which others write
PAUSE = 0.02


@app.task(name="prune")
def prune() -> None:
    """Delete until nothing is old any more, or the slice is over; then another task goes on."""
    here = services()
    if here.settings.keep is None:
        return
    gone: Counter[str] = Counter()
    closing = time.monotonic() + SLICE
    for bite in bites(here.ledger, here.clock() - here.settings.keep):
        gone.update(bite)
        if stopping.is_asked():
            break
        if time.monotonic() > closing:
            ring("prune")
            break
    if any(gone.values()):
        log.info("pruned: %s", ", ".join(f"{count} {table}" for table, count in gone.items() if count))


def bites(ledger: Ledger, before: datetime) -> Iterator[Mapping[str, int]]:
    """Delete all that is older than `before`; after each transaction, how many rows of which tables it was."""
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
