"""Delivery of events to subscribers: at least once, oldest first, one worker per subscriber at a time."""

import secrets
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple, Self

from sqlalchemy import Connection, bindparam, exists, func, or_, select, text, update

from worker.ledger.database import Part
from worker.ledger.events.contents import RecordedEvent, contents
from worker.ledger.events.failing_subscribers import Troubled, find_troubled
from worker.ledger.events.order import NEWEST, last_settled
from worker.ledger.events.states import DELIVERIES
from worker.ledger.schema import (
    IS_UNDELIVERED,
    SUBSCRIBED,
    CleanText,
    DeliveryState,
    deliveries,
    events,
    subscribers,
)
from worker.ledger.statements import LIMIT, NOW, Query, insert_ignoring, update_row

#: how long each failed try is waited for the next one, 14 hours in all; after the last the event is a dead letter
WAITS = tuple(timedelta(seconds=seconds) for seconds in (5, 30, 120, 600, 1800, 3600, 7200, 14_400, 21_600))
#: the longest that a subscriber which fails time and again is left alone before another event is tried
LONGEST_PAUSE = timedelta(minutes=5)
#: how far back a new subscriber is told of what happened: it is noted by the clock, a moment after the first steps
FIRST_LOOK = timedelta(minutes=5)
_MOST_AT_FIRST = 10_000
_CHUNK = 500


@dataclass(frozen=True, slots=True)
class NotifyClaim:
    """A subscriber that only this worker delivers to now."""

    subscriber: str
    lease: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EventDelivery(RecordedEvent):
    """One event to deliver. `tries`: including this one."""

    tries: int

    @classmethod
    def of(cls, event: RecordedEvent, tries: int) -> Self:
        return cls(
            event_id=event.event_id,
            at=event.at,
            type=event.type,
            payload=event.payload,
            generation_id=event.generation_id,
            batch_id=event.batch_id,
            about=event.about,
            tries=tries,
        )


@dataclass(frozen=True, slots=True)
class Handed:
    """The result of a delivery. `error`: None on success; `final`: do not retry."""

    delivery: EventDelivery
    error: str | None = None
    final: bool = False


class _Next(NamedTuple):
    event_id: int
    tries: int


class _News(NamedTuple):
    id: int
    type: str


_s, _d, _e = subscribers.c, deliveries.c, events.c
_NAME = bindparam("name", type_=CleanText())
_HAS_NEWS = or_(
    exists().where(_e.id > _s.cursor),
    exists().where(_d.subscriber == _s.name, IS_UNDELIVERED, _d.not_before <= NOW),
)
#: subscribers for whom something is to be done now
DUE = select(_s.name).where(
    text(SUBSCRIBED),
    _s.lease_until.is_(None) | (_s.lease_until <= NOW),
    _s.not_before.is_(None) | (_s.not_before <= NOW),
    _HAS_NEWS,
)
_NEXT = Query(
    _Next,
    select(_d.event_id, _d.tries)
    .where(_d.subscriber == _NAME, IS_UNDELIVERED, _d.not_before <= NOW)
    .order_by(_d.event_id)
    .limit(1),
)
# Only what was sent since it became due: a worker that comes back late must not answer for what a person sends again.
_DELIVERED = (
    DELIVERIES.update_to(DeliveryState.DELIVERED)
    .where(_d.subscriber == bindparam("whose", type_=CleanText()), _d.event_id == bindparam("event"), _d.tries > 0)
    .values(delivered_at=NOW, error=None)
)
_CURSOR = select(_s.cursor).where(_s.name == _NAME, _s.lease == bindparam("lease", type_=CleanText()))
_NEWS = Query(
    _News,
    select(_e.id, _e.type)
    .where(_e.id > bindparam("after"), _e.id <= bindparam("horizon"))
    .order_by(_e.id)
    .limit(LIMIT),
)


def retry_wait(tries: int) -> timedelta | None:
    """Return the wait after the n-th failed try; None after the last."""
    return WAITS[tries - 1] if tries <= len(WAITS) else None


def pause_after(failures: int) -> timedelta:
    """Return the pause of a subscriber after this many failures in a row: 5, 10, 20 … seconds."""
    return min(timedelta(seconds=5 * 2 ** min(failures - 1, 10)), LONGEST_PAUSE)


class Deliveries(Part):
    def register_subscribers(self, names: Collection[str]) -> None:
        """Record the current subscribers; new ones start from recent events, removed ones keep their position."""
        with self._database.read() as connection:
            if set(connection.execute(select(_s.name).where(text(SUBSCRIBED))).scalars()) == set(names):
                return
        now = self._database.clock()
        with self._database.write() as connection:
            if names:
                start = _start(connection, now)
                rows = [{"name": name, "cursor": start, "failures": 0} for name in sorted(names)]
                connection.execute(insert_ignoring(connection, subscribers), rows)
            connection.execute(update(subscribers).where(_s.name.in_(names)).values(left_at=None))
            gone = update(subscribers).where(text(SUBSCRIBED), _s.name.not_in(names))
            connection.execute(gone.values(left_at=now))

    def claim(self, names: Collection[str], limit: int, lease: timedelta) -> list[NotifyClaim]:
        """Claim the given subscribers that have something due."""
        now = self._database.clock()
        free = (
            DUE.where(_s.name.in_(names))
            .order_by(_s.name)
            .limit(LIMIT)
            .with_for_update(skip_locked=True, of=subscribers)
        )
        with self._database.write() as connection:
            found = connection.execute(free, {"now": now, "limit": limit}).scalars().all()
            claims = [NotifyClaim(name, secrets.token_hex(8)) for name in found]
            for claim in claims:
                mine = {"name": claim.subscriber}
                update_row(connection, subscribers, mine, lease=claim.lease, lease_until=now + lease)
        return claims

    def renew(self, claims: Sequence[NotifyClaim], lease: timedelta) -> None:
        """Renew these claims for another `lease`; released or lost ones are skipped."""
        until = self._database.clock() + lease
        with self._database.write(under_way=True) as connection:
            for claim in claims:
                mine = {"name": claim.subscriber, "lease": claim.lease}
                update_row(connection, subscribers, mine, lease_until=until)

    def enqueue_new(self, claim: NotifyClaim, is_wanted: Callable[[str], bool]) -> int:
        """Enqueue the next recorded events of the wanted types; return how many were examined."""
        horizon = last_settled(self._database)
        if horizon is None:
            return 0
        now = self._database.clock()
        with self._database.write() as connection:
            mine = {"name": claim.subscriber, "lease": claim.lease}
            cursor = connection.execute(_CURSOR, mine).scalar()
            if cursor is None or cursor >= horizon:
                return 0
            news = _NEWS.all(connection, after=cursor, horizon=horizon, limit=_CHUNK)
            update_row(connection, subscribers, mine, cursor=news[-1].id if len(news) == _CHUNK else horizon)
            wanted = [row.id for row in news if is_wanted(row.type)]
            if wanted:
                fresh = {"subscriber": claim.subscriber, "state": DeliveryState.WAITING, "tries": 0, "not_before": now}
                rows = [{**fresh, "event_id": event_id} for event_id in wanted]
                connection.execute(insert_ignoring(connection, deliveries), rows)
        return len(news)

    def record_and_claim_next(
        self, claim: NotifyClaim, lease: timedelta, handed: Handed | None = None, *, more: bool = True
    ) -> EventDelivery | None:
        """Record the result of the last delivery and return the oldest due one, in one transaction.

        None: nothing is due, the lease was lost, `more` is False, this version is too old, or the last delivery
        failed, which pauses the subscriber for a while.
        """
        now = self._database.clock()
        with self._database.write(under_way=True) as connection:
            mine = {"name": claim.subscriber, "lease": claim.lease}
            if handed is not None and handed.error is None:
                # A fact, whoever holds the lease by now.
                which = {"whose": claim.subscriber, "event": handed.delivery.event_id}
                connection.execute(_DELIVERED, {**which, "now": now})
            values = {"failures": 0} if handed is not None and handed.error is None else {}
            if update_row(connection, subscribers, mine, lease_until=now + lease, **values) != 1:
                return None
            if handed is not None and handed.error is not None:
                _failed(connection, claim, handed, now)
                return None
            row = _take(connection, claim, now) if more and not self._database.objection(connection) else None
            if row is None:
                return None
            # A delivery has its event: a foreign key says so.
            (event,) = contents(connection, [row.event_id])
        return EventDelivery.of(event, row.tries + 1)

    def release(self, claim: NotifyClaim) -> None:
        """Release the subscriber to other workers."""
        mine = {"name": claim.subscriber, "lease": claim.lease}
        with self._database.write(under_way=True) as connection:
            update_row(connection, subscribers, mine, lease=None, lease_until=None)

    def failing_subscribers(self, is_wanted: Callable[[str], bool]) -> list[Troubled]:
        """Return subscribers with a failed last delivery and waiting events of the wanted types."""
        with self._database.read() as connection:
            return find_troubled(connection, is_wanted, retry_wait)


def _start(connection: Connection, now: datetime) -> int:
    """Where a new subscriber begins."""
    oldest = (connection.execute(NEWEST).scalar() or 0) - _MOST_AT_FIRST
    before = select(func.max(_e.id)).where(_e.id > oldest, _e.at < now - FIRST_LOOK)
    return connection.execute(before).scalar() or max(oldest, 0)


def _take(connection: Connection, claim: NotifyClaim, now: datetime) -> _Next | None:
    while row := _NEXT.first(connection, name=claim.subscriber, now=now):
        mine = {"subscriber": claim.subscriber, "event_id": row.event_id}
        if row.tries <= len(WAITS):
            # Counted before it is sent, so that one which ends its worker each time comes to an end as well.
            update_row(connection, deliveries, mine, tries=row.tries + 1)
            return row
        lost = f"its worker did not come back from it, in the last of {row.tries} tries"
        DELIVERIES.move(connection, mine, DeliveryState.DEAD, not_before=None, error=lost)
    return None


def _failed(connection: Connection, claim: NotifyClaim, handed: Handed, now: datetime) -> None:
    wait = None if handed.final else retry_wait(handed.delivery.tries)
    of = _of(claim, handed)
    if wait is None:
        DELIVERIES.move(connection, of, DeliveryState.DEAD, not_before=None, error=handed.error)
    else:
        waiting = {**of, "state": DeliveryState.WAITING}
        update_row(connection, deliveries, waiting, not_before=now + wait, error=handed.error)
    mine = (_s.name == claim.subscriber, _s.lease == claim.lease)
    failures = connection.execute(select(_s.failures).where(*mine)).scalar_one() + 1
    rest = {"failures": failures, "not_before": now + pause_after(failures), "lease": None, "lease_until": None}
    connection.execute(update(subscribers).where(*mine).values(rest))


def _of(claim: NotifyClaim, handed: Handed) -> dict[str, object]:
    return {"subscriber": claim.subscriber, "event_id": handed.delivery.event_id}
