"""Addresses that submissions give for their own events, and the subscribers that stand for the origins of these.

An event goes to the address of its generation, else of the nearest ancestor with an address, else of its batch.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, delete, func, literal, select, union_all, update

from worker.ledger.events.contents import BATCH_ID
from worker.ledger.events.order import beginning
from worker.ledger.schema import CleanText, events, generations, notify_addresses, subscribers
from worker.ledger.statements import IDS, Query, columns_of, insert_rows
from worker.subscribers import NotifyAddress

#: the level of a batch's address: farther from an event than any ancestor
_OF_BATCH = 1_000_000


class Address(NamedTuple):
    """Where an event goes. `subject`: the generation or batch that the address belongs to."""

    subject: str
    subscriber: str
    url: str

    def __repr__(self) -> str:
        # Keeps the address out of tracebacks.
        return f"Address({self.subject!r}, {self.subscriber!r})"


class _Found(NamedTuple):
    event_id: int
    level: int
    subject: str
    subscriber: str
    url: str


class _Origin(NamedTuple):
    name: str
    left_at: datetime | None


class _Counted(NamedTuple):
    subscriber: str
    number: int


_a, _e, _g, _s = notify_addresses.c, events.c, generations.c, subscribers.c
_ADDRESS = columns_of(notify_addresses, Address)
# From the generation of each event upward, by primary key.
_UP = (
    select(_e.id.label("event_id"), literal(0).label("level"), _g.id, _g.parent_id)
    .join_from(events, generations, _g.id == _e.generation_id)
    .where(_e.id.in_(IDS))
    .cte("up", recursive=True)
)
_UP = _UP.union_all(
    select(_UP.c.event_id, _UP.c.level + 1, _g.id, _g.parent_id)
    .select_from(generations)
    .where(_g.id == _UP.c.parent_id)
)
_FOUND = Query(
    _Found,
    union_all(
        select(_UP.c.event_id, _UP.c.level, *_ADDRESS).join_from(_UP, notify_addresses, _a.subject == _UP.c.id),
        select(_e.id, literal(_OF_BATCH), *_ADDRESS)
        .select_from(events)
        .outerjoin(generations, _g.id == _e.generation_id)
        .join(notify_addresses, _a.subject == BATCH_ID)
        .where(_e.id.in_(IDS)),
    ),
)
_OF = Query(Address, select(*_ADDRESS).where(_a.subject == bindparam("of", type_=CleanText())))
_COUNTS = Query(_Counted, select(_a.subscriber, func.count().label("number")).group_by(_a.subscriber))
# Locked against pruning of origins without addresses, as the foreign key will do.
_ORIGINS = Query(
    _Origin,
    select(*columns_of(subscribers, _Origin))
    .where(_s.name.in_(IDS))
    .order_by(_s.name)
    .with_for_update(read=True, key_share=True),
)
_ORIGIN_OF = Query(
    _Origin,
    select(*columns_of(subscribers, _Origin)).where(
        _s.name == bindparam("whose", type_=CleanText()), _s.origin.is_not(None)
    ),
)
_BACK = update(subscribers).where(_s.name.in_(IDS), _s.origin.is_not(None))
_END = delete(notify_addresses).where(_a.subject == bindparam("of", type_=CleanText()))
_END_ALL = delete(notify_addresses).where(_a.subscriber == bindparam("whose", type_=CleanText()))
#: beside a row of `subscribers`: whether a submission has an address at this origin
HAS_ADDRESSES = select(literal(1)).where(_a.subscriber == _s.name).correlate(subscribers).exists()
#: the values of a healthy subscriber
WELL = {"failures": 0, "failing_since": None, "not_before": None, "disabled_at": None, "disabled_reason": None}


def write_addresses(connection: Connection, now: datetime, named: Iterable[tuple[str, NotifyAddress]]) -> None:
    """Store the event addresses of new generations or batches, given by id; no statement if there are none.

    A new origin is added in this transaction and starts from recent events, so that it misses none of these, whenever
    a worker looks. A disabled origin continues where it stopped: a client expects events there again.
    """
    rows = []
    origins: dict[str, str] = {}
    for subject, one in named:
        origins[one.subscriber] = one.origin
        rows.append({"subject": subject, "subscriber": one.subscriber, "url": one.url, "created_at": now})
    if rows:
        _write_origins(connection, now, origins)
        insert_rows(connection, notify_addresses, rows, ignoring=True)


def addresses_of(connection: Connection, event_ids: Sequence[int]) -> dict[int, Address]:
    """Return where these events go, with one statement per page; events without an address are left out."""
    nearest: dict[int, _Found] = {}
    for row in _FOUND.each(connection, event_ids):
        known = nearest.get(row.event_id)
        if known is None or row.level < known.level:
            nearest[row.event_id] = row
    return {event_id: Address(row.subject, row.subscriber, row.url) for event_id, row in nearest.items()}


def has_where_to_go(connection: Connection, event_id: int, subscriber: str) -> bool:
    """Return whether this subscriber has an address for the event; always true unless it stands for an origin."""
    if _ORIGIN_OF.first(connection, whose=subscriber) is None:
        return True
    found = addresses_of(connection, [event_id]).get(event_id)
    return found is not None and found.subscriber == subscriber


def address_of(connection: Connection, subject: str) -> NotifyAddress | None:
    """Return the event address of a generation or batch."""
    found = _OF.first(connection, of=subject)
    return found and NotifyAddress(found.url)


def counted_addresses(connection: Connection) -> dict[str, int]:
    """Return the number of addresses by subscriber."""
    return {row.subscriber: row.number for row in _COUNTS.all(connection)}


def end_address(connection: Connection, subject: str) -> None:
    """Delete the address of a generation or batch: nothing more is sent there."""
    connection.execute(_END, {"of": subject})


def end_addresses(connection: Connection, subscriber: str) -> None:
    """Delete all addresses of an origin."""
    connection.execute(_END_ALL, {"whose": subscriber})


def _write_origins(connection: Connection, now: datetime, origins: Mapping[str, str]) -> None:
    """Add new origins, and enable disabled ones. `origins`: by the name of the subscriber."""
    known = {row.name: row for row in _ORIGINS.each(connection, sorted(origins))}
    if missing := sorted(origins.keys() - known.keys()):
        start = beginning(connection, now)
        rows = [{"name": one, "cursor": start, "failures": 0, "origin": origins[one]} for one in missing]
        insert_rows(connection, subscribers, rows, ignoring=True)
    if gone := sorted(name for name, row in known.items() if row.left_at is not None):
        connection.execute(_BACK.values(left_at=None, **WELL), {"ids": gone})
