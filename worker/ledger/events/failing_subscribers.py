"""Failing subscribers: how many events wait for each, and when they are retried."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, func, select, text

from worker.ledger.schema import IS_UNDELIVERED, SUBSCRIBED, UNDELIVERABLE, deliveries, events, subscribers


@dataclass(frozen=True, slots=True)
class Troubled:
    """A subscriber with this many failures in a row; `since`: the time of its oldest waiting event."""

    subscriber: str
    failures: int
    waiting: int
    since: datetime
    error: str | None
    tried_at: datetime | None


_s, _d, _e = subscribers.c, deliveries.c, events.c
_FAILING = select(_s.name, _s.cursor, _s.failures, _s.not_before).where(text(SUBSCRIBED), _s.failures > 0)


def find_troubled(
    connection: Connection, is_wanted: Callable[[str], bool], wait: Callable[[int], timedelta | None]
) -> list[Troubled]:
    """Return subscribers with waiting events; reads only those. `wait`: the pause after the n-th failed try."""
    found = (_look(connection, row, is_wanted, wait) for row in connection.execute(_FAILING.order_by(_s.name)).all())
    return [one for one in found if one is not None]


def _look(
    connection: Connection, row: Any, is_wanted: Callable[[str], bool], wait: Callable[[int], timedelta | None]
) -> Troubled | None:
    mine = (_d.subscriber == row.name, IS_UNDELIVERED)
    lined_up = connection.execute(
        select(func.count().label("number"), func.min(_d.event_id).label("oldest"), func.min(_d.not_before).label("at"))
        .where(*mine)
    ).one()  # fmt: skip
    # Nothing is lined up for a subscriber while it fails.
    by_type = select(_e.type, func.count().label("number"), func.min(_e.id).label("oldest"))
    behind = connection.execute(by_type.where(_e.id > row.cursor).group_by(_e.type)).all()
    wanted = [one for one in behind if is_wanted(one.type)]
    ids = [one.oldest for one in (lined_up, *wanted) if one.oldest is not None]
    if not ids:
        return None
    since = connection.execute(select(_e.at).where(_e.id == min(ids))).scalar_one()
    times = [row.not_before] if wanted else [row.not_before, lined_up.at]
    return Troubled(
        row.name,
        row.failures,
        lined_up.number + sum(one.number for one in wanted),
        since,
        _last_error(connection, row.name, wait),
        max((at for at in times if at is not None), default=None),
    )


def _last_error(connection: Connection, name: str, wait: Callable[[int], timedelta | None]) -> str | None:
    failed = connection.execute(
        select(_d.tries, _d.not_before, _d.error).where(_d.subscriber == name, IS_UNDELIVERED, _d.error.is_not(None))
    ).all()
    if failed:
        return str(max(failed, key=lambda one: one.not_before - (wait(one.tries) or timedelta())).error)
    given_up = select(_d.error).where(_d.subscriber == name, text(UNDELIVERABLE)).order_by(_d.event_id.desc())
    return connection.execute(given_up.limit(1)).scalar()
