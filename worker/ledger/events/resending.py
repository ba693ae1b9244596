"""Resends events to a subscriber at a person's request, whether or not it got them before."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import bindparam, select, text

from worker.errors import NotFound
from worker.ledger.database import Part
from worker.ledger.events.filters import DeliveryFilter, news_of, wanted_of
from worker.ledger.events.states import DELIVERIES, anew
from worker.ledger.schema import SUBSCRIBED, CleanText, DeliveryState, deliveries, events, subscribers
from worker.ledger.statements import IDS, Query, insert_rows, update_row

#: the most deliveries that one transaction changes
_BITE = 1000


@dataclass(frozen=True, slots=True)
class Resent:
    """How many events are resent, and how many were waiting to be sent anyway."""

    resent: int
    waiting: int


class _Subscriber(NamedTuple):
    cursor: int


class _Delivery(NamedTuple):
    event_id: int
    state: str


class _Event(NamedTuple):
    id: int


_s, _d, _e = subscribers.c, deliveries.c, events.c
_WHOSE = bindparam("whose", type_=CleanText())
_SUBSCRIBER = Query(_Subscriber, select(_s.cursor).where(_s.name == _WHOSE, text(SUBSCRIBED)))
# In the same order as pruning, and before the events, as pruning does.
_DELIVERIES = Query(
    _Delivery,
    select(_d.event_id, _d.state).where(_d.subscriber == _WHOSE, _d.event_id.in_(IDS)).order_by(_d.event_id)
    .with_for_update(),
)  # fmt: skip
_EVENTS = Query(_Event, select(_e.id).where(_e.id.in_(IDS)).order_by(_e.id).with_for_update(read=True, key_share=True))
_AGAIN = DELIVERIES.update_to(DeliveryState.WAITING).where(_d.subscriber == _WHOSE, _d.event_id.in_(IDS))


class Resending(Part):
    def resend(self, subscriber: str, event_ids: Sequence[int], wanted: DeliveryFilter) -> Resent:
        """Deliver the wanted ones of these events, whether or not the subscriber got them before.

        They are delivered oldest first, from the first try. Idempotent: events that wait or are not enqueued yet are
        left alone. Unknown events are ignored. Raises NotFound for an unknown subscriber.
        """
        resent = waiting = 0
        ids = sorted(set(event_ids))
        for start in range(0, max(len(ids), 1), _BITE):
            some = self._resend(subscriber, ids[start : start + _BITE], wanted)
            resent, waiting = resent + some.resent, waiting + some.waiting
        return Resent(resent, waiting)

    def _resend(self, subscriber: str, numbers: Sequence[int], wanted: DeliveryFilter) -> Resent:
        now = self._database.clock()
        whose = {"whose": subscriber}
        with self._database.write() as connection:
            known = _SUBSCRIBER.first(connection, **whose)
            if known is None:
                raise NotFound(f"no events are delivered to {subscriber!r}: no worker has seen it in its settings yet")
            event_ids = wanted_of(connection, news_of(connection, numbers), wanted, subscriber)
            found = {row.event_id: row.state for row in _DELIVERIES.all(connection, ids=event_ids, **whose)}
            there = {row.id for row in _EVENTS.all(connection, ids=event_ids)}
            # Events after the cursor will be enqueued in their turn.
            missing = [one for one in event_ids if one in there and one not in found and one <= known.cursor]
            fresh = {"subscriber": subscriber, "state": DeliveryState.WAITING, **anew(now)}
            insert_rows(connection, deliveries, [{**fresh, "event_id": one} for one in missing], ignoring=True)
            again = [one for one, state in found.items() if state != DeliveryState.WAITING]
            if again:
                connection.execute(_AGAIN.values(anew(now)), {"ids": again, **whose})
            if again or missing:
                # A person knows that the subscriber is available.
                update_row(connection, subscribers, {"name": subscriber}, failures=0, not_before=None)
        resent = len(again) + len(missing)
        return Resent(resent, len(there) - resent)
