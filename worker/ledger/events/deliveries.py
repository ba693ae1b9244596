"""Delivery of events to subscribers: at least once, oldest first, one worker per subscriber at a time."""

import secrets
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, exists, func, or_, select, text, update

from worker.generation import TEST_BATCH
from worker.ledger.database import Part
from worker.ledger.events.failing_subscribers import Troubled, find_troubled
from worker.ledger.events.order import NEWEST, last_settled
from worker.ledger.events.states import DELIVERIES
from worker.ledger.lineage import lineages_of
from worker.ledger.schema import (
    IS_UNDELIVERED,
    SUBSCRIBED,
    CleanText,
    DeliveryState,
    batches,
    deliveries,
    events,
    generations,
    subscribers,
)
from worker.ledger.statements import LIMIT, NOW, Query, insert_ignoring, update_row
from worker.secrets import SANDBOX_ACCOUNT

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
class EventDelivery:
    """One event to deliver. `about`: facts about its generation; `tries`: including this one."""

    event_id: int
    at: datetime
    type: str
    payload: Mapping[str, object]
    generation_id: str | None
    batch_id: str | None
    about: Mapping[str, object]
    tries: int


@dataclass(frozen=True, slots=True)
class Handed:
    """The result of a delivery. `error`: None on success; `final`: do not retry."""

    delivery: EventDelivery
    error: str | None = None
    final: bool = False


class _Next(NamedTuple):
    event_id: int
    tries: int


class _Content(NamedTuple):
    at: datetime
    type: str
    payload: Mapping[str, object]
    generation_id: str | None
    key: str | None
    provider: str | None
    operation: str | None
    action: str | None
    reason: str | None
    message: str | None
    batch_id: str | None
    batch: str | None
    parent: str | None
    pinned: str | None


class _News(NamedTuple):
    id: int
    type: str


_s, _d, _e, _g = subscribers.c, deliveries.c, events.c, generations.c
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
_ABOUT = ("key", "provider", "operation", "action", "reason", "message")
#: an event may leave it to its generation
_BATCH_ID = func.coalesce(_e.batch_id, _g.batch_id)
_CONTENT = Query(
    _Content,
    select(_e.at, _e.type, _e.payload, _e.generation_id, *(_g[name] for name in _ABOUT))
    .add_columns(_BATCH_ID.label("batch_id"), batches.c.name.label("batch"), _g.parent_id.label("parent"), _g.pinned)
    .select_from(events)
    .outerjoin(generations, _g.id == _e.generation_id)
    .outerjoin(batches, batches.c.id == _BATCH_ID)
    .where(_e.id == bindparam("event_id")),
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
                DELIVERIES.move(connection, _of(claim, handed), DeliveryState.DELIVERED, delivered_at=now, error=None)
            values = {"failures": 0} if handed is not None and handed.error is None else {}
            if update_row(connection, subscribers, mine, lease_until=now + lease, **values) != 1:
                return None
            if handed is not None and handed.error is not None:
                _failed(connection, claim, handed, now)
                return None
            row = _take(connection, claim, now) if more and not self._database.objection(connection) else None
            if row is None:
                return None
            content = _CONTENT.first(connection, event_id=row.event_id)
            if content is None:
                # A delivery has its event: a foreign key says so.
                raise AssertionError
            about = _about(connection, content)
        return EventDelivery(
            event_id=row.event_id,
            at=content.at,
            type=content.type,
            payload=content.payload,
            generation_id=content.generation_id,
            batch_id=content.batch_id,
            about=about,
            tries=row.tries + 1,
        )

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


def _about(connection: Connection, content: _Content) -> dict[str, object]:
    """What is known of the generation and the batch of an event."""
    about: dict[str, object] = {name: getattr(content, name) for name in (*_ABOUT, "parent", "batch")}
    about["root_key"] = content.key
    if content.parent is not None and content.generation_id is not None:
        about["root_key"] = lineages_of(connection, [content.generation_id])[content.generation_id].root_key
    if content.pinned == SANDBOX_ACCOUNT or (content.batch or "").endswith(TEST_BATCH):
        about["test"] = True
    return {name: value for name, value in about.items() if value is not None}


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
