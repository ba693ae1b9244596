"""Corrects times too far in the future, written by a wrong clock, for which work would wait.

A SQLite ledger uses its machine's clock, which may be wrong until somebody corrects it. Times written before the
correction are then reduced to the latest plausible value; a worker's claims last for one lease.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import (
    Column,
    ColumnElement,
    Select,
    TextClause,
    Update,
    bindparam,
    func,
    literal,
    select,
    text,
    tuple_,
    update,
)

from worker.generation import AttemptState, Trouble
from worker.ledger.assets import LATER_WAIT, LONGEST_RETRY_WAIT, LONGEST_THUMBNAIL_WAIT, PATIENT_TRIES
from worker.ledger.database import Database
from worker.ledger.dispatch import LONGEST_BACKOFF, LONGEST_PAUSE, SLACK
from worker.ledger.events import LONGEST_RETRY_AFTER, WAITS
from worker.ledger.generations import LONGEST_WAIT as LONGEST_FOLLOW_UP_WAIT
from worker.ledger.schema import (
    ASKED,
    FOLLOW_UP_DUE,
    IN_FLIGHT,
    POLLED,
    RECIPE_DUE,
    SENDING,
    SUBSCRIBED,
    UNAPPLIED,
    UNDELIVERED,
    UNDESCRIBED,
    UNMADE,
    UNSTORED,
    WAITING,
    UtcDateTime,
    approvals,
    assets,
    attempts,
    batches,
    callbacks,
    deliveries,
    generations,
    subscribers,
)
from worker.ledger.statements import Query, columns_of, update_row
from worker.ledger.submission import LONGEST as LONGEST_SILENCE
from worker.ledger.submission import LOOKS

#: no claim lasts longer than this
LONGEST_LEASE = timedelta(minutes=2)


class _Asked(NamedTuple):
    id: str
    asked_at: datetime
    expires_at: datetime


_LATEST = bindparam("latest", type_=UtcDateTime())
_g, _a = generations.c, assets.c
_written_ahead = _g.updated_at > bindparam("soon", type_=UtcDateTime())


@dataclass(frozen=True, slots=True)
class _Kind:
    """`longest`: how far ahead such a time may be. `search` finds one beyond it; `pull` moves all of them back."""

    longest: timedelta
    search: Select[int]
    pull: Update

    def times(self, now: datetime) -> Mapping[str, datetime]:
        return {"latest": now + self.longest, "soon": now + SLACK}


def _kind(longest: timedelta, column: Column[datetime], *conditions: ColumnElement[bool] | TextClause) -> _Kind:
    further = (*conditions, column > _LATEST)
    keys = column.table.primary_key.columns
    # Locked rows are being rewritten.
    free = select(*keys).where(*further).with_for_update(skip_locked=True)
    pull = update(column.table).where(tuple_(*keys).in_(free)).values({column: _LATEST})
    return _Kind(longest, select(literal(1)).where(*further).limit(1), pull)


_waits_briefly = func.coalesce(_a.reason, "") != Trouble.WORKER_DIED

# The conditions match the indexes, so each search reads only waiting rows.
_KINDS = (
    _kind(LONGEST_PAUSE, _g.not_before, text(WAITING)),
    _kind(LONGEST_BACKOFF, _g.not_before, text(WAITING), _written_ahead),
    _kind(SLACK, _g.dispatched_at, text(f"({IN_FLIGHT})")),
    _kind(LONGEST_FOLLOW_UP_WAIT, _g.follow_up_not_before, text(FOLLOW_UP_DUE)),
    _kind(LONGEST_FOLLOW_UP_WAIT, _g.follow_up_not_before, text(RECIPE_DUE)),
    _kind(LONGEST_LEASE, attempts.c.lease_until, text(SENDING)),
    _kind(LONGEST_LEASE, callbacks.c.not_before, text(UNAPPLIED)),
    _kind(LONGEST_LEASE, _a.not_before, text(UNSTORED), _a.lease.is_not(None)),
    _kind(LONGEST_RETRY_WAIT, _a.not_before, text(UNSTORED)),
    _kind(LATER_WAIT, _a.not_before, text(UNSTORED), _a.tries < PATIENT_TRIES, _waits_briefly),
    _kind(LONGEST_LEASE, _a.thumbnail_at, text(UNMADE), _a.thumbnail_lease.is_not(None)),
    _kind(SLACK, _a.thumbnail_at, text(UNMADE), _a.thumbnail_tries == 0),
    _kind(LONGEST_THUMBNAIL_WAIT, _a.thumbnail_at, text(UNMADE)),
    _kind(LONGEST_LEASE, batches.c.manifest_not_before, text(UNDESCRIBED)),
    _kind(LONGEST_LEASE, subscribers.c.lease_until, text(SUBSCRIBED)),
    _kind(LONGEST_RETRY_AFTER, subscribers.c.not_before, text(SUBSCRIBED)),
    _kind(SLACK, deliveries.c.not_before, text(UNDELIVERED), deliveries.c.tries == 0),
    _kind(WAITS[-1], deliveries.c.not_before, text(UNDELIVERED)),
    _kind(LOOKS[-1], attempts.c.poll_at, text(POLLED), attempts.c.state == AttemptState.FAILED),
)
#: each with its own deadline, which restarts
_ASKED_AHEAD = Query(
    _Asked,
    select(*columns_of(approvals, _Asked)).where(
        text(ASKED), approvals.c.asked_at > bindparam("soon", type_=UtcDateTime())
    ),
)
_SILENT = _kind(LONGEST_SILENCE, attempts.c.poll_at, text(POLLED), attempts.c.state != AttemptState.FAILED)


def pull_back(database: Database, now: datetime, poll_after: timedelta) -> int:
    """Correct the rows and return their number. `poll_after`: the setting, which may exceed all learned durations."""
    kinds = (*_KINDS, replace(_SILENT, longest=max(LONGEST_SILENCE, poll_after)))
    soon = {"soon": now + SLACK}
    with database.read() as connection:
        found = [kind for kind in kinds if connection.execute(kind.search, kind.times(now)).first()]
        asked = _ASKED_AHEAD.all(connection, **soon)
    if not found and not asked:
        return 0
    with database.write() as connection:
        pulled = sum(connection.execute(kind.pull, kind.times(now)).rowcount for kind in found)
        for row in asked:
            mine = {"id": row.id, "asked_at": row.asked_at}
            pulled += update_row(
                connection, approvals, mine, asked_at=now, expires_at=now + (row.expires_at - row.asked_at)
            )
        return pulled
