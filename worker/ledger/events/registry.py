"""The subscribers: those that the settings declare, and those that people add."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, func, or_, select, text, update

from worker.errors import NotFound, RequestInvalid
from worker.generation import iso
from worker.ledger.changes import Changes
from worker.ledger.database import Part
from worker.ledger.events.addresses import HAS_ADDRESSES, WELL, address_of, counted_addresses, end_addresses
from worker.ledger.events.order import beginning
from worker.ledger.events.public_ids import public_id
from worker.ledger.events.states import make_due
from worker.ledger.schema import IS_UNDELIVERED, SUBSCRIBED, CleanText, deliveries, events, subscribers
from worker.ledger.statements import LIMIT, Query, columns_of, insert_ignoring, update_row
from worker.subscribers import NotifyAddress


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSubscriber:
    """The fields match the table; None and empty values select every event."""

    name: str
    kind: str
    address: str
    secrets: Sequence[str] | None = None
    format: str | None = None
    queue: str | None = None
    types: Sequence[str] | None = None
    batch: str | None = None
    provider: str | None = None
    labels: Mapping[str, str] | None = None
    created_by: str


class KnownSubscriber(NamedTuple):
    """`kind`: None if the settings declare it, or if it is an origin. `left_at`: since when it gets no events."""

    name: str
    kind: str | None
    address: str | None
    secrets: Sequence[str] | None
    format: str | None
    queue: str | None
    types: Sequence[str] | None
    batch: str | None
    provider: str | None
    labels: Mapping[str, str] | None
    created_at: datetime | None
    created_by: str | None
    left_at: datetime | None
    disabled_at: datetime | None
    disabled_reason: str | None
    failing_since: datetime | None
    failures: int
    not_before: datetime | None
    origin: str | None

    def __repr__(self) -> str:
        # Keeps the address and the secrets out of tracebacks.
        return f"KnownSubscriber({self.name!r}, {self.kind!r})"


class DeliveryLog(NamedTuple):
    """A delivery with the replies to its last tries, oldest first."""

    event_id: int
    at: datetime
    type: str
    state: str
    tries: int
    not_before: datetime | None
    replies: Sequence[Mapping[str, object]] | None

    @property
    def public_id(self) -> str:
        return public_id(self.event_id, self.at)


class _Waiting(NamedTuple):
    subscriber: str
    number: int


class _Named(NamedTuple):
    name: str
    is_here: bool
    is_added: bool
    is_disabled: bool


_s, _d, _e = subscribers.c, deliveries.c, events.c
_WHOSE = bindparam("whose", type_=CleanText())
_ALL = select(*columns_of(subscribers, KnownSubscriber))
# Removed subscribers are kept only for their position.
_IS_ORIGIN = _s.origin.is_not(None) & HAS_ADDRESSES
_IS_KNOWN = or_(text(SUBSCRIBED), _s.kind.is_not(None), _s.disabled_at.is_not(None), _IS_ORIGIN)
_KNOWN = Query(KnownSubscriber, _ALL.where(_IS_KNOWN).order_by(_s.name))
_ADDED = Query(
    KnownSubscriber, _ALL.where(text(SUBSCRIBED), _s.kind.is_not(None) | _s.origin.is_not(None)).order_by(_s.name)
)
_CALLED = Query(KnownSubscriber, _ALL.where(_s.name == _WHOSE).with_for_update())
_NAMED = Query(
    _Named,
    select(
        _s.name,
        _s.left_at.is_(None).label("is_here"),
        or_(_s.kind.is_not(None), _IS_ORIGIN).label("is_added"),
        _s.disabled_at.is_not(None).label("is_disabled"),
    ).where(_IS_KNOWN),
)
_WAITING = Query(
    _Waiting, select(_d.subscriber, func.count().label("number")).where(IS_UNDELIVERED).group_by(_d.subscriber)
)
_LOG = Query(
    DeliveryLog,
    select(_d.event_id, _e.at, _e.type, _d.state, _d.tries, _d.not_before, _d.replies)
    .join_from(deliveries, events, _e.id == _d.event_id)
    .where(_d.subscriber == _WHOSE)
    .order_by(_d.event_id.desc())
    .limit(LIMIT),
)
_NOTHING = dict.fromkeys(
    ("kind", "address", "secrets", "format", "queue", "types", "batch", "provider", "labels", "created_at")
)


class Registry(Part):
    def register_subscribers(self, declared: Collection[str]) -> None:
        """Register the declared subscribers; new ones start from recent events, removed ones keep their position.

        Subscribers that people added stay, even if an older version, which does not know them, marked them as removed.
        So do origins while submissions have addresses there.
        """
        with self._database.read() as connection:
            known = _NAMED.all(connection)
        disabled = {row.name for row in known if row.is_disabled}
        wanted = ({*declared} | {row.name for row in known if row.is_added}) - disabled
        if {row.name for row in known if row.is_here} == wanted:
            return
        now = self._database.clock()
        with self._database.write() as connection:
            if declared:
                start = beginning(connection, now)
                rows = [{"name": name, "cursor": start, "failures": 0} for name in sorted(declared)]
                connection.execute(insert_ignoring(connection, subscribers), rows)
            is_wanted = or_(_s.name.in_(declared), _s.kind.is_not(None), _IS_ORIGIN) & _s.disabled_at.is_(None)
            connection.execute(update(subscribers).where(is_wanted, _s.left_at.is_not(None)).values(left_at=None))
            connection.execute(update(subscribers).where(text(SUBSCRIBED), ~is_wanted).values(left_at=now))

    def added_subscribers(self) -> list[KnownSubscriber]:
        """Return active subscribers that people added, and active origins of submissions' addresses, by name."""
        with self._database.read() as connection:
            return _ADDED.all(connection)

    def known_subscribers(self) -> list[KnownSubscriber]:
        """Return active and disabled subscribers, by name."""
        with self._database.read() as connection:
            return _KNOWN.all(connection)

    def waiting_deliveries(self) -> dict[str, int]:
        """Return how many events are enqueued for each subscriber."""
        with self._database.read() as connection:
            return {row.subscriber: row.number for row in _WAITING.all(connection)}

    def notify_addresses(self) -> dict[str, int]:
        """Return how many submission addresses each origin has."""
        with self._database.read() as connection:
            return counted_addresses(connection)

    def notify_address(self, subject: str) -> NotifyAddress | None:
        """Return the event address of a generation or batch."""
        with self._database.read() as connection:
            return address_of(connection, subject)

    def delivery_log(self, subscriber: str, limit: int) -> list[DeliveryLog]:
        """Return the latest deliveries of a subscriber, newest first."""
        with self._database.read() as connection:
            return _LOG.all(connection, whose=subscriber, limit=limit)

    def add_subscriber(self, new: NewSubscriber) -> KnownSubscriber:
        """Add a subscriber; if one with this name was removed, it continues where it stopped.

        Raises RequestInvalid if the name is taken.
        """
        now = self._database.clock()
        row: dict[str, object] = {
            **{name: getattr(new, name) for name in _NOTHING if name != "created_at"},
            "created_at": now,
            "created_by": new.created_by,
        }
        with self._database.write() as connection:
            fresh = {"name": new.name, "cursor": beginning(connection, now), "failures": 0, **row}
            if not connection.execute(insert_ignoring(connection, subscribers), fresh).rowcount:
                before = _CALLED.first(connection, whose=new.name)
                if before is None or before.left_at is None or before.kind or before.origin:
                    raise RequestInvalid(
                        f"there is already a subscriber {new.name!r}: choose another name with --name, or remove that "
                        "subscriber first (`darkroom subscriber remove`)"
                    )
                update_row(connection, subscribers, {"name": new.name}, left_at=None, **WELL, **row)
            return _require(connection, new.name)

    def remove_subscriber(self, name: str) -> KnownSubscriber:
        """Remove an added subscriber: it gets no more events, and its address and secrets are deleted.

        For an origin, all addresses of submissions are deleted. Raises NotFound, also for one declared by the settings.
        """
        now = self._database.clock()
        with self._database.write() as connection:
            found = _require(connection, name, is_added=True)
            end_addresses(connection, name)
            gone = {**_NOTHING, **WELL, "left_at": now, "lease": None, "lease_until": None}
            update_row(connection, subscribers, {"name": name}, **gone)
        return found

    def enable_subscriber(self, name: str) -> KnownSubscriber:
        """Let a subscriber get events again, at once and from where it stopped. Raises NotFound."""
        with self._database.write() as connection:
            found = _require(connection, name)
            # One that the settings no longer declare stays inactive: the next registration decides.
            back = {} if found.disabled_at is None else {"left_at": None}
            update_row(connection, subscribers, {"name": name}, **WELL, **back)
            make_due(connection, name, self._database.clock())
            return _require(connection, name)

    def disable_subscriber(self, name: str, why: str) -> KnownSubscriber:
        """Deliver nothing more to a subscriber until it is enabled; it then continues where it stopped.

        Raises NotFound.
        """
        now = self._database.clock()
        with self._database.write() as connection:
            found = _require(connection, name)
            if found.disabled_at is None:
                stopped = {"left_at": now, "disabled_at": now, "disabled_reason": why, "lease": None}
                update_row(connection, subscribers, {"name": name}, **stopped, lease_until=None)
                changes = Changes(connection, now)
                since = iso(found.failing_since or now)
                changes.event("subscriber.disabled", subscriber=name, reason=why, failing_since=since)
                changes.flush()
            return _require(connection, name)

    def change_secrets(self, name: str, secrets: Sequence[str]) -> KnownSubscriber:
        """Sign further deliveries with these secrets. Raises NotFound."""
        with self._database.write() as connection:
            _require(connection, name, is_added=True)
            update_row(connection, subscribers, {"name": name}, secrets=list(secrets))
            return _require(connection, name)


def _require(connection: Connection, name: str, *, is_added: bool = False) -> KnownSubscriber:
    found = _CALLED.first(connection, whose=name)
    if found is None or (found.left_at is not None and found.disabled_at is None and found.kind is None):
        raise NotFound(f"there is no subscriber {name!r}; `darkroom subscriber list` shows all")
    if is_added and found.kind is None and found.origin is None:
        raise NotFound(f"{name!r} is declared by a setting (DARKROOM_NOTIFY_URLS or _TASKS): change it there")
    return found
