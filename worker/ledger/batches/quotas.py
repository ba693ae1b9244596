"""How many more generations dispatch may take of each batch: none while it is stopped, else up to `max_in_flight`."""

from collections import Counter
from collections.abc import Collection
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import ColumnElement, Connection, bindparam, func, literal_column, select, text

from worker.ledger.schema import AT_PROVIDER, DISPATCHED, STOPPED, CleanText, UtcDateTime, batches, generations
from worker.ledger.statements import IDS, Query

#: a generation that was sent this long ago without an answer no longer counts toward the capacity of the provider or of
#: its batch: otherwise a few that nobody can resolve would block all others for good
FORGOTTEN = timedelta(hours=1)


class _Batch(NamedTuple):
    id: str
    max_in_flight: int | None


class _InFlight(NamedTuple):
    batch_id: str
    number: int


_b, _g = batches.c, generations.c
_BATCHES = select(_b.id, _b.max_in_flight).where(_b.id.in_(IDS), text(f"NOT {STOPPED}")).order_by(_b.id)
# Only transactions that pause or limit a batch wait for this one to end.
_GOING = Query(_Batch, _BATCHES.with_for_update(read=True, key_share=True))
# Without this lock, two dispatches of the same batch at two providers would not count each other's generations. The
# holder of the lock is dispatching the batch or ending one of its generations, and wakes dispatch afterwards; waiting
# for it could deadlock.
_FREE = Query(
    _Batch,
    _BATCHES.where(_b.max_in_flight.is_not(None)).with_for_update(skip_locked=True, key_share=True),
)
_AT_PROVIDERS = Query(
    _InFlight,
    select(_g.batch_id, func.count().label("number"))
    .where(_g.batch_id.in_(IDS), text(AT_PROVIDER), _g.dispatched_at > bindparam("since", type_=UtcDateTime()))
    .group_by(_g.batch_id),
)
#: the batch, as an expression: makes the planner use the index of dispatched generations, instead of scanning all
#: queued generations of a batch, or even of all batches, for the order of the groups
OF_BATCH: ColumnElement[str] = literal_column("(batch_id || '')", CleanText)
_DISPATCHED = Query(
    _InFlight,
    select(OF_BATCH.label("batch_id"), func.count().label("number"))
    .select_from(generations)
    .where(text(DISPATCHED), OF_BATCH.in_(IDS))
    .group_by(OF_BATCH),
)


class Quotas:
    """The remaining quotas of the batches of one dispatch. None is paused or limited until its transaction ends."""

    def __init__(self, connection: Connection, now: datetime) -> None:
        self._connection = connection
        self._now = now
        #: None: unlimited
        self._left: dict[str, int | None] = {}

    def open(self, names: Collection[str]) -> None:
        """Lock and read these batches; single generations have an empty name."""
        ids = sorted(set(names) - self._left.keys() - {""})
        if not ids:
            return
        self._left.update(dict.fromkeys(ids, 0))
        going = _GOING.each(self._connection, ids)
        self._left.update({row.id: None for row in going if row.max_in_flight is None})
        limited = [row.id for row in going if row.max_in_flight is not None]
        free = _FREE.each(self._connection, limited)
        used = in_flight(self._connection, [row.id for row in free], self._now)
        self._left.update({row.id: max(0, (row.max_in_flight or 0) - used[row.id]) for row in free})

    def has_room(self, name: str) -> bool:
        """Return whether one more of this batch may be dispatched; a batch that was not opened has no room."""
        return not name or self._left.get(name, 0) != 0

    def take(self, name: str | None) -> None:
        if name and (left := self._left[name]) is not None:
            self._left[name] = left - 1


def in_flight(connection: Connection, batch_ids: Collection[str], now: datetime) -> Counter[str]:
    """Count the generations of each batch that are dispatched or at a provider, and not forgotten."""
    ids = sorted(batch_ids)
    rows = _AT_PROVIDERS.each(connection, ids, since=now - FORGOTTEN) + _DISPATCHED.each(connection, ids)
    found: Counter[str] = Counter()
    for row in rows:
        found[row.batch_id] += row.number
    return found
