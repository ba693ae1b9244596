"""Deletes old rows in small portions, so that no other writer waits.

The newest callback and the newest event always stay: SQLite would reuse their numbers, and subscribers would skip the
events that get them.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import (
    Connection,
    bindparam,
    delete,
    func,
    literal,
    or_,
    select,
    text,
    tuple_,
    union,
    update,
)

from worker.generation import FINAL
from worker.ledger.database import Part
from worker.ledger.schema import (
    ASKED,
    DONE_WITH,
    LINKED,
    SUBSCRIBED,
    CleanText,
    DeliveryState,
    UtcDateTime,
    actions,
    approvals,
    assets,
    batches,
    callbacks,
    deliveries,
    events,
    generations,
    heartbeats,
    idempotency_keys,
    notify_addresses,
    prunes,
    sessions,
    subscribers,
)
from worker.ledger.statements import IDS, LIMIT, NOW, Query, insert_ignoring

#: the most rows that one transaction deletes (events: together with their deliveries)
BITE = 500
#: the log of actions is kept for at least this long
LEAST_OF_ACTIONS = timedelta(days=30)
#: idempotency keys are kept for at least this long
KEYS_KEPT = timedelta(days=7)


class _Old(NamedTuple):
    id: int
    at: datetime


class _OldAction(NamedTuple):
    id: str
    at: datetime


class _OldKey(NamedTuple):
    owner: str
    key: str


class _OldAddress(NamedTuple):
    subject: str


class _Pass(NamedTuple):
    ended_at: datetime | None


class _Owed(NamedTuple):
    event_id: int
    is_owed: bool


_c, _a, _e, _d, _s, _h, _p = callbacks.c, assets.c, events.c, deliveries.c, subscribers.c, heartbeats.c, prunes.c
_k, _n, _g = idempotency_keys.c, notify_addresses.c, generations.c
_BEFORE = bindparam("before", type_=UtcDateTime())
_NEWEST_CALLBACK = select(func.max(_c.id)).scalar_subquery()
_CALLBACKS = (text(DONE_WITH), _c.applied_at < _BEFORE, _c.id < _NEWEST_CALLBACK)
_LINKS = (text(LINKED), _a.deadline < _BEFORE)
_HEARTBEATS = (_h.seen_at < _BEFORE,)
_SESSIONS = (sessions.c.expires_at < _BEFORE,)
_OLD_SESSIONS = (
    select(sessions.c.sha256)
    .where(*_SESSIONS)
    .order_by(sessions.c.expires_at)
    .limit(LIMIT)
    .with_for_update(skip_locked=True)
)
_OLD_CALLBACKS = select(_c.id).where(*_CALLBACKS).order_by(_c.applied_at).limit(LIMIT).with_for_update(skip_locked=True)
_OLD_LINKS = select(_a.id).where(*_LINKS).order_by(_a.deadline).limit(LIMIT).with_for_update(skip_locked=True)
_KEYS = (_k.created_at < _BEFORE, _k.lease_until.is_(None) | (_k.lease_until < _BEFORE))
_OLD_KEYS = Query(
    _OldKey,
    select(_k.owner, _k.key).where(*_KEYS).order_by(_k.created_at).limit(LIMIT).with_for_update(skip_locked=True),
)
# No subquery: PostgreSQL may execute it more than once, and so exceed its limit.
_DROP_KEYS = delete(idempotency_keys).where(tuple_(_k.owner, _k.key).in_(bindparam("keys", expanding=True)))
_COUNT_KEYS = select(func.count()).select_from(idempotency_keys).where(*_KEYS)
_NEWEST_EVENT = select(func.max(_e.id))
#: all subscribers have their deliveries up to this event
_LINED_UP = select(func.min(_s.cursor)).where(text(SUBSCRIBED))
# Event ids are, near enough, in chronological order.
_EVENTS = Query(
    _Old,
    select(_e.id, _e.at).where(_e.id > bindparam("after"), _e.id < bindparam("end")).order_by(_e.id).limit(LIMIT),
)
# Likewise.
_ACTIONS = Query(_OldAction, select(actions.c.id, actions.c.at).order_by(actions.c.id).limit(LIMIT))
_OLD_ACTIONS = (actions.c.at < _BEFORE,)
_LEFT_LONG_AGO = _s.left_at.is_not(None) & (_s.left_at < _BEFORE)
_DELIVERIES = Query(
    _Owed,
    select(
        _d.event_id,
        # A delivery waiting for a subscriber that left long ago no longer counts; a dead one counts until dismissed.
        or_(
            _d.state == DeliveryState.DEAD,
            (_d.state == DeliveryState.WAITING) & ~_LEFT_LONG_AGO,
            _d.delivered_at >= _BEFORE,
        ).label("is_owed"),
    )
    .join_from(deliveries, subscribers, _s.name == _d.subscriber)
    .where(_d.event_id.in_(IDS))
    .order_by(_d.event_id, _d.subscriber)
    # A person may be resending one.
    .with_for_update(of=deliveries),
)
# Old addresses, needed or not; `after`: how many kept ones precede them.
_ADDRESSES = Query(
    _OldAddress,
    select(_n.subject)
    .where(_n.created_at < _BEFORE)
    .order_by(_n.created_at, _n.subject)
    .limit(LIMIT)
    .offset(bindparam("after")),
)
_DOWN = select(_g.id.label("subject"), _g.id, _g.state).where(_g.id.in_(IDS)).cte("down", recursive=True)
_DOWN = _DOWN.union_all(
    select(_DOWN.c.subject, _g.id, _g.state).select_from(generations).where(_g.parent_id == _DOWN.c.id)
)
_HAS_EVENTS = select(literal(1)).where(_e.generation_id == _DOWN.c.id).correlate(_DOWN).exists()
_ASKED = select(literal(1)).where(text(ASKED))
_AWAITS_APPROVAL = _ASKED.where(approvals.c.generation_id == _DOWN.c.id).correlate(_DOWN).exists()
_OF_BATCH = select(literal(1)).where(_g.batch_id == batches.c.id).correlate(batches)
_THEIR_EVENTS = select(literal(1)).select_from(events).correlate(batches)
_NEEDED = Query(
    _OldAddress,
    union(
        select(_DOWN.c.subject).where(or_(_DOWN.c.state.not_in(FINAL), _AWAITS_APPROVAL, _HAS_EVENTS)),
        select(batches.c.id).where(
            batches.c.id.in_(IDS),
            or_(
                _OF_BATCH.where(_g.state.not_in(FINAL)).exists(),
                _ASKED.where(approvals.c.batch_id == batches.c.id).correlate(batches).exists(),
                # Events are indexed by generation.
                _THEIR_EVENTS.where(_e.generation_id.is_(None), _e.batch_id == batches.c.id).exists(),
                _THEIR_EVENTS.join(generations, _g.id == _e.generation_id).where(_g.batch_id == batches.c.id).exists(),
            ),
        ),
    ),
)
_ORIGIN = (
    _s.origin.is_not(None),
    _s.lease.is_(None),
    ~select(literal(1)).where(_n.subscriber == _s.name).correlate(subscribers).exists(),
    ~select(literal(1)).where(_d.subscriber == _s.name).correlate(subscribers).exists(),
)
_EMPTY_ORIGINS = select(_s.name).where(*_ORIGIN).order_by(_s.name).limit(LIMIT).with_for_update(skip_locked=True)
# Checked again: a submission may have named it before it was locked; none can afterwards.
_DROP_ORIGINS = delete(subscribers).where(_s.name.in_(IDS), *_ORIGIN)
_DROP_ADDRESSES = delete(notify_addresses).where(_n.subject.in_(IDS))
_DROP_CALLBACKS = delete(callbacks).where(_c.id.in_(IDS))
_DROP_LINKS = update(assets).where(_a.id.in_(IDS)).values(url="")
_DROP_DELIVERIES = delete(deliveries).where(_d.event_id.in_(IDS))
_DROP_EVENTS = delete(events).where(_e.id.in_(IDS))
_DROP_ACTIONS = delete(actions).where(actions.c.id.in_(IDS))
_DROP_SESSIONS = delete(sessions).where(sessions.c.sha256.in_(IDS))
_KIND = bindparam("of", type_=CleanText())
#: the row of all kinds
_ALL = "all"
_NOTE_ALL = update(prunes).where(_p.kind == _ALL).values(before=_BEFORE, ended_at=NOW)
_PASS = Query(_Pass, select(_p.ended_at).where(_p.kind == _ALL))
_NOTE = update(prunes).where(_p.kind == _KIND, _p.before < _BEFORE).values(before=_BEFORE)


@dataclass(frozen=True, slots=True)
class Bite:
    """Rows deleted by one transaction, per table (`assets`: their links). `after`: where the next one starts."""

    gone: Mapping[str, int]
    after: int | None


@dataclass(frozen=True, slots=True)
class _OldEvents:
    ids: list[int]
    deliveries: int
    after: int | None


@dataclass(frozen=True, slots=True)
class _OldAddresses:
    ids: list[str]
    after: int | None


class Pruning(Part):
    """Each `prune_…` method deletes at most `BITE` rows older than `before`."""

    def prune_callbacks(self, before: datetime) -> Bite:
        """Delete callbacks applied or dismissed before then."""
        with self._database.write() as connection:
            ids = connection.execute(_OLD_CALLBACKS, {"before": before, "limit": BITE}).scalars().all()
            if ids:
                connection.execute(_DROP_CALLBACKS, {"ids": ids})
                _note(connection, "callbacks", before)
        return _bite("callbacks", ids)

    def prune_links(self, before: datetime) -> Bite:
        """Delete links of stored assets that expired before then."""
        with self._database.write() as connection:
            ids = connection.execute(_OLD_LINKS, {"before": before, "limit": BITE}).scalars().all()
            if ids:
                connection.execute(_DROP_LINKS, {"ids": ids})
        return _bite("assets", ids)

    def prune_events(self, before: datetime, after: int = 0) -> Bite:
        """Delete events from before then that have no pending deliveries, and their deliveries; starts at `after`."""
        with self._database.write() as connection:
            old = _old_events(connection, before, after)
            if old.ids:
                connection.execute(_DROP_DELIVERIES, {"ids": old.ids})
                connection.execute(_DROP_EVENTS, {"ids": old.ids})
                _note(connection, "events", before)
        return Bite({"events": len(old.ids), "deliveries": old.deliveries}, old.after)

    def prune_notify_addresses(self, before: datetime, after: int = 0) -> Bite:
        """Delete addresses whose generations and all their follow-ups have ended and have no events left.

        Then delete origins without addresses. `after`: how many older addresses are kept.
        """
        # Batches may be large: no writer has to wait until all of them have been checked.
        with self._database.read() as connection:
            old = _old_addresses(connection, before, after)
        with self._database.write() as connection:
            if old.ids:
                connection.execute(_DROP_ADDRESSES, {"ids": old.ids})
            if old.after is None:
                _drop_origins(connection)
        return Bite({"notify_addresses": len(old.ids)}, old.after)

    def prune_heartbeats(self, before: datetime) -> Bite:
        """Delete workers whose last heartbeat was before then."""
        with self._database.write() as connection:
            gone = connection.execute(delete(heartbeats).where(*_HEARTBEATS), {"before": before}).rowcount
        return Bite({"heartbeats": gone}, None)

    def prune_sessions(self, before: datetime) -> Bite:
        """Delete sessions that expired before then."""
        with self._database.write() as connection:
            ids = connection.execute(_OLD_SESSIONS, {"before": before, "limit": BITE}).scalars().all()
            if ids:
                connection.execute(_DROP_SESSIONS, {"ids": ids})
        return _bite("sessions", ids)

    def prune_actions(self, before: datetime) -> Bite:
        """Delete actions from before then, but none of the last 30 days."""
        before = self._of_actions(before)
        with self._database.write() as connection:
            oldest = _ACTIONS.all(connection, limit=BITE)
            ids = [row.id for row in oldest if row.at < before]
            if ids:
                connection.execute(_DROP_ACTIONS, {"ids": ids})
        return _bite("actions", ids)

    def prune_idempotency_keys(self, before: datetime) -> Bite:
        """Delete idempotency keys from before then that are also older than a week: clients may retry for days."""
        before = self._keys_before(before)
        with self._database.write() as connection:
            old = _OLD_KEYS.all(connection, before=before, limit=BITE)
            gone = connection.execute(_DROP_KEYS, {"keys": old}).rowcount if old else 0
        return Bite({"idempotency_keys": gone}, 0 if gone == BITE else None)

    def note_pruned(self, before: datetime) -> None:
        """Record that nothing of any kind is left to delete."""
        now = self._database.clock()
        with self._database.write() as connection:
            if connection.execute(_NOTE_ALL, {"before": before, "now": now}).rowcount == 0:
                row = {"kind": _ALL, "before": before, "ended_at": now}
                connection.execute(insert_ignoring(connection, prunes), [row])

    def last_pruned(self) -> datetime | None:
        """Return when nothing was last left to delete; None if never."""
        with self._database.read() as connection:
            found = _PASS.first(connection)
        return found.ended_at if found else None

    def count_prunable(self, before: datetime) -> dict[str, int]:
        """Count the rows per table that would be deleted (`assets`: their links)."""
        found: Counter[str] = Counter()
        with self._database.read() as connection:
            simple = ((callbacks, _CALLBACKS), (assets, _LINKS), (heartbeats, _HEARTBEATS), (sessions, _SESSIONS))
            for table, is_old in simple:
                count = select(func.count()).select_from(table).where(*is_old)
                found[table.name] = connection.execute(count, {"before": before}).scalar_one()
            kept = {"before": self._of_actions(before)}
            count = select(func.count()).select_from(actions).where(*_OLD_ACTIONS)
            found[actions.name] = connection.execute(count, kept).scalar_one()
            found["idempotency_keys"] = connection.execute(
                _COUNT_KEYS, {"before": self._keys_before(before)}
            ).scalar_one()
            after: int | None = 0
            while after is not None:
                old = _old_events(connection, before, after)
                found["events"] += len(old.ids)
                found["deliveries"] += old.deliveries
                after = old.after
            found["notify_addresses"] = _count_addresses(connection, before)
        return found

    def _of_actions(self, before: datetime) -> datetime:
        return min(before, self._database.clock() - LEAST_OF_ACTIONS)

    def _keys_before(self, before: datetime) -> datetime:
        return min(before, self._database.clock() - KEYS_KEPT)


def _bite(table: str, ids: Sequence[object]) -> Bite:
    return Bite({table: len(ids)}, 0 if len(ids) == BITE else None)


def _old_events(connection: Connection, before: datetime, after: int) -> _OldEvents:
    newest = connection.execute(_NEWEST_EVENT).scalar() or 0
    lined_up = connection.execute(_LINED_UP).scalar()
    end = newest if lined_up is None else min(newest, lined_up + 1)
    rows = _EVENTS.all(connection, after=after, end=end, limit=BITE)
    old = [row.id for row in rows if row.at < before]
    found = _DELIVERIES.all(connection, ids=old, before=before) if old else []
    owed = {row.event_id for row in found if row.is_owed}
    return _OldEvents(
        [one for one in old if one not in owed],
        sum(row.event_id not in owed for row in found),
        rows[-1].id if old and len(rows) == BITE else None,
    )


def _old_addresses(connection: Connection, before: datetime, after: int) -> _OldAddresses:
    subjects = [row.subject for row in _ADDRESSES.all(connection, before=before, after=after, limit=BITE)]
    needed = {row.subject for row in _NEEDED.each(connection, subjects)}
    kept = after + len(needed)
    return _OldAddresses([one for one in subjects if one not in needed], kept if len(subjects) == BITE else None)


def _drop_origins(connection: Connection) -> None:
    if names := connection.execute(_EMPTY_ORIGINS, {"limit": BITE}).scalars().all():
        connection.execute(_DROP_ORIGINS, {"ids": names})


def _count_addresses(connection: Connection, before: datetime) -> int:
    seen = number = 0
    while (old := _old_addresses(connection, before, seen)).after is not None:
        number += len(old.ids)
        # Nothing is deleted here, so the next rows come after all of these.
        seen += BITE
    return number + len(old.ids)


def _note(connection: Connection, kind: str, before: datetime) -> None:
    if connection.execute(_NOTE, {"of": kind, "before": before}).rowcount == 0:
        connection.execute(insert_ignoring(connection, prunes), [{"kind": kind, "before": before}])
