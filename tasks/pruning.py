"""Deletes old rows in small transactions."""

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime

from worker.archive import Archive
from worker.errors import ArchiveError, ConfigurationError
from worker.ledger import Ledger
from worker.ledger.maintenance import Bite

log = logging.getLogger(__name__)

#: seconds between two transactions, so that others can write
PAUSE = 0.02


def bites(ledger: Ledger, before: datetime, archive: Archive | None) -> Iterator[Mapping[str, int]]:
    """Delete all rows older than `before`; yield the number of rows per table after each transaction.

    Unused input files are deleted together with their objects in the `archive`; without one, they stay.
    """
    while archive is not None and (old := ledger.inputs.prune(before)):
        for one in old:
            try:
                archive.delete(one.object_key)
            except (ArchiveError, ConfigurationError) as error:
                # `darkroom verify` lists it as orphaned.
                log.warning("could not delete the input file %s: %s", one.object_key, error)
        yield {"inputs": len(old)}
    verbs: tuple[Callable[[int], Bite], ...] = (
        lambda _: ledger.maintenance.prune_callbacks(before),
        lambda _: ledger.maintenance.prune_links(before),
        lambda after: ledger.maintenance.prune_events(before, after),
        lambda after: ledger.maintenance.prune_notify_addresses(before, after),
        lambda _: ledger.maintenance.prune_heartbeats(before),
        lambda _: ledger.maintenance.prune_sessions(before),
        lambda _: ledger.maintenance.prune_actions(before),
        lambda _: ledger.maintenance.prune_idempotency_keys(before),
    )
    for verb in verbs:
        after: int | None = 0
        while after is not None:
            bite = verb(after)
            yield bite.gone
            after = bite.after
            time.sleep(PAUSE)
