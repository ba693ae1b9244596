"""Failing subscribers: how many events wait for each, and when they are retried next."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, func, select, text

from worker.ledger.schema import IS_UNDELIVERED, SUBSCRIBED, UNDELIVERABLE, CleanText, deliveries, events, subscribers
from worker.ledger.statements import Query, columns_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Troubled:
    """A subscriber with this many consecutive failures. `since`: the time of its oldest waiting event."""

    subscriber: str
    failures: int
    waiting: int
    since: datetime
    error: str | None
    tried_at: datetime | None


class _Failing(NamedTuple):
    name: str
    cursor: int
    failures: int
    not_before: datetime | None


class _LinedUp(NamedTuple):
    number: int
    oldest: int | None
    at: datetime | None


class _Behind(NamedTuple):
    type: str
    number: int
    oldest: int


class _Failed(NamedTuple):
    tries: int
    not_before: datetime
    error: str


_s, _d, _e = subscribers.c, deliveries.c, events.c
_NAME = bindparam("name", type_=CleanText())
_FAILING = Query(
    _Failing,
    select(*columns_of(subscribers, _Failing)).where(text(SUBSCRIBED), _s.failures > 0).order_by(_s.name),
)
_LINED_UP = Query(
    _LinedUp,
    select(
        func.count().label("number"), func.min(_d.event_id).label("oldest"), func.min(_d.not_before).label("at")
    ).where(_d.subscriber == _NAME, IS_UNDELIVERED),
)
_BEHIND = Query(
    _Behind,
    select(_e.type, func.count().label("number"), func.min(_e.id).label("oldest"))
    .where(_e.id > bindparam("cursor"))
    .group_by(_e.type),
)
_FAILED = Query(
    _Failed,
    select(*columns_of(deliveries, _Failed)).where(_d.subscriber == _NAME, IS_UNDELIVERED, _d.error.is_not(None)),
)


def find_troubled(
    connection: Connection, is_wanted: Callable[[str, str], bool], wait: Callable[[int], timedelta | None]
) -> list[Troubled]:
    """Return failing subscribers with waiting events.

    `is_wanted`: whether a subscriber gets events of a type; `wait`: the wait after the n-th failed try.
    """
    found = (_look(connection, row, is_wanted, wait) for row in _FAILING.all(connection))
    return [one for one in found if one is not None]


def _look(
    connection: Connection,
    row: _Failing,
    is_wanted: Callable[[str, str], bool],
    wait: Callable[[int], timedelta | None],
) -> Troubled | None:
    (lined_up,) = _LINED_UP.all(connection, name=row.name)
    # Nothing is enqueued for a subscriber while it fails.
    wanted = [one for one in _BEHIND.all(connection, cursor=row.cursor) if is_wanted(row.name, one.type)]
    ids = [oldest for oldest in (lined_up.oldest, *(one.oldest for one in wanted)) if oldest is not None]
    if not ids:
        return None
    since = connection.execute(select(_e.at).where(_e.id == min(ids))).scalar_one()
    times = [row.not_before] if wanted else [row.not_before, lined_up.at]
    return Troubled(
        subscriber=row.name,
        failures=row.failures,
        waiting=lined_up.number + sum(one.number for one in wanted),
        since=since,
        error=_last_error(connection, row.name, wait),
        tried_at=max((at for at in times if at is not None), default=None),
    )


def _last_error(connection: Connection, name: str, wait: Callable[[int], timedelta | None]) -> str | None:
    if failed := _FAILED.all(connection, name=name):
        return max(failed, key=lambda one: one.not_before - (wait(one.tries) or timedelta())).error
    given_up = select(_d.error).where(_d.subscriber == name, text(UNDELIVERABLE)).order_by(_d.event_id.desc())
    return connection.execute(given_up.limit(1)).scalar()
