"""Delivery of events to subscribers: at least once, oldest first, by one worker per subscriber at a time."""

import random
import secrets
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple, Self

from sqlalchemy import Connection, bindparam, delete, exists, literal_column, or_, select, text

from worker.ledger.changes import Changes
from worker.ledger.database import Part
from worker.ledger.events.addresses import Address, addresses_of, end_address
from worker.ledger.events.contents import RecordedEvent, contents
from worker.ledger.events.failing_subscribers import Troubled, find_troubled
from worker.ledger.events.filters import NEWS, DeliveryFilter, wanted_of
from worker.ledger.events.order import last_settled
from worker.ledger.events.states import DELIVERIES, make_due
from worker.ledger.schema import (
    IS_UNDELIVERED,
    SUBSCRIBED,
    CleanText,
    DeliveryState,
    Json,
    deliveries,
    events,
    subscribers,
)
from worker.ledger.statements import LIMIT, NOW, Query, insert_ignoring, update_row

#: the waits between tries, 14 hours in all; after the last try, the event is a dead letter
WAITS = tuple(timedelta(seconds=seconds) for seconds in (5, 30, 120, 600, 1800, 3600, 7200, 14_400, 21_600))
#: the longest pause of a repeatedly failing subscriber before another event is tried
LONGEST_PAUSE = timedelta(minutes=5)
#: a wait of minutes is shortened by up to this fraction, so that what failed together is not retried together
JITTER = 0.1
_JITTER_FROM = timedelta(minutes=1)
#: the longest wait that a subscriber may ask for
LONGEST_RETRY_AFTER = timedelta(hours=1)
#: a subscriber is disabled when nothing has succeeded for this long and this many consecutive tries have failed
PATIENCE, FEWEST_FAILURES = timedelta(days=5), 10
#: after this many consecutive failures, a subscriber counts as down: once it is back, all waiting events are due
_AWAY_AFTER = 3
#: how many of a delivery's last tries are kept
REPLIES_KEPT = 5
_CHUNK = 500
#: names in one statement: databases limit the number of parameters
_MOST_NAMES = 30_000


@dataclass(frozen=True, slots=True)
class NotifyClaim:
    """A subscriber to which only this worker currently delivers."""

    subscriber: str
    lease: str
    #: consecutive failures before this claim
    failures: int = 0
    #: whether each event has its own address
    is_origin: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class EventDelivery(RecordedEvent):
    """An event to deliver. `tries`: including this one; `replies`: to the last tries, oldest first.

    `address`: where it goes, if its subscriber stands for an origin.
    """

    tries: int
    replies: Sequence[Mapping[str, object]] = ()
    address: Address | None = None

    @classmethod
    def of(
        cls, event: RecordedEvent, tries: int, replies: Sequence[Mapping[str, object]], address: Address | None
    ) -> Self:
        return cls(
            event_id=event.event_id,
            at=event.at,
            type=event.type,
            payload=event.payload,
            generation_id=event.generation_id,
            batch_id=event.batch_id,
            about=event.about,
            tries=tries,
            replies=replies,
            address=address,
        )


@dataclass(frozen=True, slots=True)
class Response:
    """A response to a delivery. `kept`: for people; `retry_after`: the requested wait; `is_last`: send no more."""

    kept: Mapping[str, object] = field(default_factory=dict)
    retry_after: timedelta | None = None
    is_last: bool = False


@dataclass(frozen=True, slots=True)
class Handed:
    """The result of a delivery. `error`: None on success; `final`: do not retry."""

    delivery: EventDelivery
    error: str | None = None
    final: bool = False
    response: Response = Response()

    @property
    def ended_address(self) -> Address | None:
        """The event's address, if it takes no more events although others of the same origin may."""
        return self.delivery.address if self.response.is_last else None


class _Free(NamedTuple):
    name: str
    failures: int
    is_origin: bool


class _Next(NamedTuple):
    event_id: int
    tries: int
    replies: Sequence[Mapping[str, object]] | None


class _Failing(NamedTuple):
    failures: int
    failing_since: datetime | None


_s, _d, _e = subscribers.c, deliveries.c, events.c
_earlier, _its_event, _theirs = deliveries.alias(), events.alias(), events.alias()
#: whether an earlier event of the same generation waits for its next try
_IS_HELD_UP = exists().where(
    _its_event.c.id == _d.event_id,
    _theirs.c.generation_id == _its_event.c.generation_id,
    _theirs.c.id < _d.event_id,
    _earlier.c.event_id == _theirs.c.id,
    _earlier.c.subscriber == _d.subscriber,
    _earlier.c.state == literal_column(f"'{DeliveryState.WAITING}'"),
    _earlier.c.not_before > NOW,
)
_NAME = bindparam("name", type_=CleanText())
_HAS_NEWS = or_(
    exists().where(_e.id > _s.cursor),
    exists().where(_d.subscriber == _s.name, IS_UNDELIVERED, _d.not_before <= NOW, ~_IS_HELD_UP),
)
#: subscribers with something due now
DUE = select(_s.name).where(
    text(SUBSCRIBED),
    _s.lease_until.is_(None) | (_s.lease_until <= NOW),
    _s.not_before.is_(None) | (_s.not_before <= NOW),
    _HAS_NEWS,
)
_NEXT = Query(
    _Next,
    select(_d.event_id, _d.tries, _d.replies)
    .where(_d.subscriber == _NAME, IS_UNDELIVERED, _d.not_before <= NOW, ~_IS_HELD_UP)
    .order_by(_d.event_id)
    .limit(1),
)
# Only what was sent since it became due: a late worker must not mark as delivered what a person has resent.
_DELIVERED = (
    DELIVERIES.update_to(DeliveryState.DELIVERED)
    .where(_d.subscriber == bindparam("whose", type_=CleanText()), _d.event_id == bindparam("event"), _d.tries > 0)
    .values(delivered_at=NOW, error=None, replies=bindparam("replies", type_=Json()))
)
_FORGET = delete(deliveries).where(
    _d.subscriber == bindparam("whose", type_=CleanText()), _d.event_id == bindparam("event"), IS_UNDELIVERED
)
_MINE = (_s.name == _NAME, _s.lease == bindparam("lease", type_=CleanText()))
_FAILING = Query(_Failing, select(_s.failures, _s.failing_since).where(*_MINE))
_CURSOR = select(_s.cursor).where(*_MINE)


def retry_wait(tries: int) -> timedelta | None:
    """Return the wait after the n-th failed try; None after the last one."""
    return WAITS[tries - 1] if tries <= len(WAITS) else None


def pause_after(failures: int) -> timedelta:
    """Return the pause of a subscriber after this many consecutive failures: 5, 10, 20 … seconds."""
    return min(timedelta(seconds=5 * 2 ** min(failures - 1, 10)), LONGEST_PAUSE)


class Deliveries(Part):
    def claim(self, names: Collection[str], limit: int, lease: timedelta, *, failing: bool = True) -> list[NotifyClaim]:
        """Claim the given subscribers that have something due; failing ones come last, or not at all."""
        now = self._database.clock()
        # If there are more, a different sample each time.
        some = names if len(names) <= _MOST_NAMES else random.sample(sorted(names), _MOST_NAMES)
        due = DUE.where(_s.name.in_(some), *([] if failing else [_s.failures == 0]))
        with self._database.read() as connection:
            # Checked repeatedly while other subscribers hang, so it takes no locks.
            if connection.execute(due.limit(1), {"now": now}).first() is None:
                return []
        free = (
            due.add_columns(_s.failures, _s.origin.is_not(None).label("is_origin"))
            # The furthest behind come first: there may be more than can be served between two events.
            .order_by(_s.failures, _s.cursor, _s.name)
            .limit(LIMIT)
            .with_for_update(skip_locked=True, of=subscribers)
        )
        with self._database.write() as connection:
            found = Query(_Free, free).all(connection, now=now, limit=limit)
            claims = [NotifyClaim(row.name, secrets.token_hex(8), row.failures, row.is_origin) for row in found]
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

    def enqueue_new(self, claim: NotifyClaim, wanted: DeliveryFilter) -> int:
        """Enqueue the wanted ones among the next recorded events; return how many were examined."""
        horizon = last_settled(self._database)
        if horizon is None:
            return 0
        now = self._database.clock()
        with self._database.write() as connection:
            mine = {"name": claim.subscriber, "lease": claim.lease}
            cursor = connection.execute(_CURSOR, mine).scalar()
            if cursor is None or cursor >= horizon:
                return 0
            news = NEWS.all(connection, after=cursor, horizon=horizon, limit=_CHUNK)
            update_row(connection, subscribers, mine, cursor=news[-1].id if len(news) == _CHUNK else horizon)
            if ids := wanted_of(connection, news, wanted, claim.subscriber):
                fresh = {"subscriber": claim.subscriber, "state": DeliveryState.WAITING, "tries": 0, "not_before": now}
                rows = [{**fresh, "event_id": event_id} for event_id in ids]
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
                connection.execute(_DELIVERED, {**which, "now": now, "replies": _replies(handed, now)})
                if claim.failures >= _AWAY_AFTER:
                    make_due(connection, claim.subscriber, now)
            is_well = {"failures": 0, "failing_since": None}
            values = is_well if handed is not None and (handed.error is None or handed.ended_address) else {}
            if update_row(connection, subscribers, mine, lease_until=now + lease, **values) != 1:
                return None
            if handed is not None and (ended := handed.ended_address) is not None:
                # The server is healthy: it has answered, and only this address has ended.
                end_address(connection, ended.subject)
                _give_up(connection, claim, handed, now)
            elif handed is not None and handed.error is not None:
                _failed(connection, claim, handed, now)
                return None
            return _next(connection, claim, now) if more and not self._database.objection(connection) else None

    def release(self, claim: NotifyClaim) -> None:
        """Release the subscriber to other workers."""
        mine = {"name": claim.subscriber, "lease": claim.lease}
        with self._database.write(under_way=True) as connection:
            update_row(connection, subscribers, mine, lease=None, lease_until=None)

    def failing_subscribers(self, is_wanted: Callable[[str, str], bool]) -> list[Troubled]:
        """Return subscribers with a failed last delivery and waiting events.

        `is_wanted`: whether a subscriber gets events of a type.
        """
        with self._database.read() as connection:
            return find_troubled(connection, is_wanted, retry_wait)


def _next(connection: Connection, claim: NotifyClaim, now: datetime) -> EventDelivery | None:
    while row := _take(connection, claim, now):
        address = None
        if claim.is_origin:
            address = addresses_of(connection, [row.event_id]).get(row.event_id)
            if address is None or address.subscriber != claim.subscriber:
                # Its address has ended or was removed, so nobody waits for it.
                connection.execute(_FORGET, {"whose": claim.subscriber, "event": row.event_id})
                continue
        # A foreign key guarantees that a delivery has its event.
        (event,) = contents(connection, [row.event_id])
        return EventDelivery.of(event, row.tries + 1, row.replies or (), address)
    return None


def _take(connection: Connection, claim: NotifyClaim, now: datetime) -> _Next | None:
    while row := _NEXT.first(connection, name=claim.subscriber, now=now):
        mine = {"subscriber": claim.subscriber, "event_id": row.event_id}
        if row.tries <= len(WAITS):
            # Counted before sending, so that an event that kills its worker every time is eventually abandoned, too.
            update_row(connection, deliveries, mine, tries=row.tries + 1)
            return row
        lost = f"its worker did not return from the last of {row.tries} tries"
        DELIVERIES.move(connection, mine, DeliveryState.DEAD, not_before=None, error=lost)
    return None


def _failed(connection: Connection, claim: NotifyClaim, handed: Handed, now: datetime) -> None:
    wait = None if handed.final else retry_wait(handed.delivery.tries)
    asked_for = min(handed.response.retry_after or timedelta(), LONGEST_RETRY_AFTER)
    if wait is None:
        _give_up(connection, claim, handed, now)
    else:
        if wait > _JITTER_FROM:
            wait *= 1 - JITTER * random.random()
        not_before = now + max(wait, asked_for)
        waiting = {**_of(claim, handed), "state": DeliveryState.WAITING}
        said = {"error": handed.error, "replies": _replies(handed, now)}
        update_row(connection, deliveries, waiting, not_before=not_before, **said)
    mine = {"name": claim.subscriber, "lease": claim.lease}
    before = _FAILING.first(connection, **mine)
    assert before is not None, "its lease was renewed in this transaction"  # noqa: S101
    failures, since = before.failures + 1, (before.failing_since if before.failures else None) or now
    pause = max(pause_after(failures), asked_for)
    rest = {"failures": failures, "failing_since": since, "not_before": now + pause, "lease": None, "lease_until": None}
    if handed.response.is_last or (now - since >= PATIENCE and failures >= FEWEST_FAILURES):
        why = handed.error
        if not handed.response.is_last:
            why = f"no delivery has succeeded for {PATIENCE.days} days: {handed.error}"
        rest |= {"left_at": now, "disabled_at": now, "disabled_reason": why}
        changes = Changes(connection, now)
        changes.event("subscriber.disabled", subscriber=claim.subscriber, reason=why, failing_since=since.isoformat())
        changes.flush()
    update_row(connection, subscribers, mine, **rest)


def _give_up(connection: Connection, claim: NotifyClaim, handed: Handed, now: datetime) -> None:
    said = {"error": handed.error, "replies": _replies(handed, now)}
    DELIVERIES.move(connection, _of(claim, handed), DeliveryState.DEAD, not_before=None, **said)


def _of(claim: NotifyClaim, handed: Handed) -> dict[str, object]:
    return {"subscriber": claim.subscriber, "event_id": handed.delivery.event_id}


def _replies(handed: Handed, now: datetime) -> list[Mapping[str, object]]:
    """Return what is kept of the last tries, including this one."""
    this = {"at": now.isoformat(), **handed.response.kept, "error": handed.error}
    return [*handed.delivery.replies, this][-REPLIES_KEPT:]
