"""Deletes rows past their retention, as a worker does every hour."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from tasks.pruning import bites
from tasks.usecases.services import LedgerServices
from worker.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Pruned:
    """The number of deleted rows for each table that has any; with `dry_run`, of rows that would be deleted."""

    before: datetime
    rows: Mapping[str, int]


def prune(here: LedgerServices, *, dry_run: bool) -> Pruned:
    """Delete rows older than DARKROOM_KEEP_DAYS that are no longer needed. Raises ConfigurationError if that is 0."""
    if here.settings.keep is None:
        raise ConfigurationError("DARKROOM_KEEP_DAYS is 0, so everything is kept: set it to a number of days to prune")
    before = here.clock() - here.settings.keep
    rows: Counter[str] = Counter()
    if dry_run:
        rows.update(here.ledger.maintenance.count_prunable(before))
    else:
        for bite in bites(here.ledger, before, archive=None):
            rows.update(bite)
        here.ledger.maintenance.note_pruned(before)
    return Pruned(before, {name: count for name, count in rows.items() if count})
