"""The log of events in order, for readers that are not subscribers."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import Connection, Select, bindparam, select

from worker.ledger.database import Part
from worker.ledger.events.contents import BATCH_ID, RecordedEvent, contents
from worker.ledger.events.order import NEWEST, last_settled
from worker.ledger.events.public_ids import number_of, public_id
from worker.ledger.schema import CleanText, events, generations
from worker.ledger.statements import LIMIT, Query

#: the most events that one statement reads, and that one call reads
_CHUNK, _MOST = 1000, 10_000
#: events have the time when their transaction began, which may commit after one that began later
_OUT_OF_ORDER = timedelta(minutes=5)


@dataclass(frozen=True, slots=True, kw_only=True)
class EventFilter:
    """`is_wanted`: whether to include a type. `since`: the earliest time."""

    is_wanted: Callable[[str], bool] = lambda _: True
    batch_id: str | None = None
    generation_id: str | None = None
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class EventPage:
    """`position`: of the last examined event, wanted or not; `cursor`: its public id, None if there is none.

    `is_end`: whether there were no more.
    """

    events: Sequence[RecordedEvent]
    position: int
    cursor: str | None
    is_end: bool


class _Row(NamedTuple):
    id: int
    at: datetime
    type: str
    batch_id: str | None


class _Oldest(NamedTuple):
    id: int
    at: datetime


_e, _g = events.c, generations.c
_ROWS = (
    select(_e.id, _e.at, _e.type, BATCH_ID.label("batch_id"))
    .select_from(events)
    .outerjoin(generations, _g.id == _e.generation_id)
    .limit(LIMIT)
)


def _both(rows: Select[*tuple[object, ...]]) -> tuple[Query[_Row], Query[_Row]]:
    of = _e.generation_id == bindparam("of", type_=CleanText())
    return Query(_Row, rows), Query(_Row, rows.where(of))


_AFTER = _both(_ROWS.where(_e.id > bindparam("after"), _e.id <= bindparam("horizon")).order_by(_e.id))
_BEFORE = _both(_ROWS.where(_e.id < bindparam("before")).order_by(_e.id.desc()))
_OLDEST = Query(_Oldest, select(_e.id, _e.at).order_by(_e.id).limit(1))
_THIS = Query(_Oldest, select(_e.id, _e.at).where(_e.id == bindparam("number")))


class EventLog(Part):
    def horizon(self) -> int | None:
        """Return the position up to which no event can appear later; None if that cannot be determined now.

        Waits up to a second for uncommitted transactions.
        """
        if (newest := last_settled(self._database)) is not None:
            return newest
        with self._database.read() as connection:
            return 0 if connection.execute(NEWEST).scalar() is None else None

    def position_of(self, cursor: str) -> int | None:
        """Return the position of the event with this public id; None if it does not exist or no longer exists."""
        number = number_of(cursor)
        if number is None:
            return None
        with self._database.read() as connection:
            row = _THIS.first(connection, number=number)
        return row.id if row is not None and public_id(row.id, row.at) == cursor else None

    def cursor_at(self, position: int) -> str | None:
        """Return the public id of the event at this position."""
        with self._database.read() as connection:
            row = _THIS.first(connection, number=position)
        return None if row is None else public_id(row.id, row.at)

    def oldest_event(self) -> str | None:
        """Return the public id of the oldest event that still exists."""
        with self._database.read() as connection:
            row = _OLDEST.first(connection)
        return None if row is None else public_id(row.id, row.at)

    def events_after(self, position: int, horizon: int, wanted: EventFilter, limit: int) -> EventPage:
        """Return the next events up to `horizon`, oldest first; examines a limited number of them."""
        found: list[int] = []
        cursor, looked_at = None, 0
        with self._database.read() as connection:
            while len(found) < limit and looked_at < _MOST:
                rows = _rows(connection, _AFTER, wanted, after=position, horizon=horizon)
                looked_at += len(rows)
                for row in rows:
                    position, cursor = row.id, public_id(row.id, row.at)
                    if _is_wanted(row, wanted):
                        found.append(row.id)
                        if len(found) == limit:
                            break
                else:
                    if len(rows) < _CHUNK:
                        return EventPage(contents(connection, found), position, cursor, is_end=True)
            return EventPage(contents(connection, found), position, cursor, is_end=False)

    def newest_events(self, wanted: EventFilter, limit: int | None = None) -> Iterator[RecordedEvent]:
        """Yield matching events, newest first, up to `limit`."""
        number = 0
        for ids in self._newest_ids(wanted):
            some = ids if limit is None else ids[: limit - number]
            with self._database.read() as connection:
                yield from contents(connection, some)
            number += len(some)
            if number == limit:
                return

    def newest_ids(self, wanted: EventFilter) -> list[int]:
        """Return the numbers of matching events, newest first."""
        return [one for ids in self._newest_ids(wanted) for one in ids]

    def _newest_ids(self, wanted: EventFilter) -> Iterator[list[int]]:
        before = 2**62
        while True:
            with self._database.read() as connection:
                rows = _rows(connection, _BEFORE, wanted, before=before)
            if found := [row.id for row in rows if _is_wanted(row, wanted)]:
                yield found
            is_past = bool(rows) and wanted.since is not None and rows[-1].at < wanted.since - _OUT_OF_ORDER
            if len(rows) < _CHUNK or is_past:
                return
            before = rows[-1].id


def _rows(
    connection: Connection, queries: tuple[Query[_Row], Query[_Row]], wanted: EventFilter, **place: int
) -> list[_Row]:
    if wanted.generation_id is None:
        return queries[0].all(connection, limit=_CHUNK, **place)
    return queries[1].all(connection, limit=_CHUNK, of=wanted.generation_id, **place)


def _is_wanted(row: _Row, wanted: EventFilter) -> bool:
    is_of_batch = wanted.batch_id is None or row.batch_id == wanted.batch_id
    is_recent = wanted.since is None or row.at >= wanted.since
    return is_of_batch and is_recent and wanted.is_wanted(row.type)
