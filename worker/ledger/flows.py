"""Flows with queued generations. A flow is a batch, or all generations without one, at one provider and priority.

Flows take turns: the least recently dispatched one is next. So a flow neither accumulates nor loses turns while it
cannot be dispatched. Code that queues a generation calls `line_up` in the same transaction.

The flows of a stopped batch (paused, or not started yet) sleep, so that dispatch does not read them. Sleep only saves
time: dispatch itself checks each batch (`batches/quotas.py`), and puts to sleep any flow that is still awake.
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import NamedTuple, Protocol

from sqlalchemy import Connection, and_, bindparam, delete, func, literal, select, text, tuple_, update

from worker.ledger.schema import (
    AWAKE,
    FLOW,
    HELD,
    STOPPED,
    UNFINISHED,
    WAITING,
    CleanText,
    batches,
    flows,
    generations,
    provider_limits,
)
from worker.ledger.statements import IDS, NOW, Query, insert_ignoring


class Flow(NamedTuple):
    """The key of a row of `flows`, in the order in which all code locks them."""

    provider: str
    priority: int
    flow: str
    pinned: str


class LinesUp(Protocol):
    """A row of `generations`, with what determines its place in line."""

    @property
    def provider(self) -> str: ...
    @property
    def priority(self) -> int: ...
    @property
    def batch_id(self) -> str | None: ...
    @property
    def pinned(self) -> str: ...


class _Kept(NamedTuple):
    provider: str
    priority: int
    flow: str
    pinned: str
    asleep_since: datetime | None


class _Stray(NamedTuple):
    provider: str
    priority: int
    batch_id: str | None
    pinned: str


def flow_of(row: LinesUp) -> Flow:
    return Flow(row.provider, row.priority, row.batch_id or "", row.pinned)


_f, _g = flows.c, generations.c
_UNFINISHED = select(batches.c.id).where(text(UNFINISHED))
_KEY = tuple_(_f.provider, _f.priority, _f.flow, _f.pinned)
_MINE = {name: bindparam(f"of_{name}", type_=_f[name].type) for name in Flow._fields}
_IS_MINE = [_f[name] == value for name, value in _MINE.items()]
# The lock keeps others from deleting these flows, or putting them to sleep, until this transaction ends; it does not
# wait for transactions that update their turns.
_KEPT = Query(
    _Kept,
    select(*[_f[name] for name in Flow._fields], _f.asleep_since)
    .where(_KEY.in_(IDS))
    .order_by(*[_f[name] for name in Flow._fields])
    .with_for_update(read=True, key_share=True),
)
# The turn of the same flow at another account; otherwise behind all that wait: a new flow has no claim to past turns.
_others = flows.alias("others")
_TURN = func.coalesce(
    select(func.max(_others.c.turn))
    .where(*[_others.c[name] == _MINE[name] for name in ("provider", "priority", "flow")])
    .scalar_subquery(),
    select(provider_limits.c.turn).where(provider_limits.c.provider == _MINE["provider"]).scalar_subquery(),
    0,
)
_NEW = {**_MINE, "turn": _TURN}
_WAKE = update(flows).where(*_IS_MINE).values(asleep_since=None, turn=_TURN)
_EMPTY = select(literal(1)).where(
    _g.provider == _MINE["provider"],
    _g.pinned == _MINE["pinned"],
    _g.priority == _MINE["priority"],
    text(f"{FLOW} = :of_flow").bindparams(bindparam("of_flow", type_=CleanText())),
    text(WAITING),
).limit(1)  # fmt: skip
_LOCK = select(literal(1)).where(*_IS_MINE).with_for_update(skip_locked=True)
_HELD = select(literal(1)).where(_g.batch_id == bindparam("of_flow", type_=CleanText()), text(HELD)).limit(1)
_SLEEP = update(flows).where(*_IS_MINE).values(asleep_since=NOW)
_DELETE = delete(flows).where(*_IS_MINE)
_STOPPED = select(batches.c.id).where(batches.c.id.in_(IDS), text(STOPPED)).order_by(batches.c.id)
# Nothing can restart them before this transaction ends.
_KEPT_STOPPED = _STOPPED.with_for_update(read=True, key_share=True)
# Locked flows are being woken, put to sleep or deleted by another transaction: the holder of a batch waits for no flow.
_OF_BATCH = (
    select(*[_f[name] for name in Flow._fields])
    .where(_f.flow == bindparam("batch", type_=CleanText()))
    .with_for_update(skip_locked=True, key_share=True)
)
_AWAKE = Query(Flow, _OF_BATCH.where(text(AWAKE)))
_ASLEEP = Query(Flow, _OF_BATCH.where(_f.asleep_since.is_not(None)))
# Joined by the whole key, and filtered by sleep afterwards: with that condition in the join, PostgreSQL would use the
# index of awake flows and compare all pairs.
_IS_ITS_OWN = and_(
    _f.provider == _g.provider, _f.priority == _g.priority, text(f"flows.flow = {FLOW}"), _f.pinned == _g.pinned
)
_STRAY = Query(
    _Stray,
    select(_g.provider, _g.priority, _g.batch_id, _g.pinned)
    .distinct()
    .outerjoin_from(generations, flows, _IS_ITS_OWN)
    .where(
        _g.provider == bindparam("provider", type_=CleanText()),
        _g.pinned.in_(IDS),
        text(WAITING),
        ~select(literal(1)).select_from(batches).where(text(UNFINISHED)).exists(),
        ~select(literal(1)).where(batches.c.id == _g.batch_id, text(STOPPED)).exists(),
        _f.provider.is_(None) | _f.asleep_since.is_not(None),
    ),
)


def line_up(connection: Connection, wanted: Collection[Flow]) -> None:
    """Queue these flows, because they have queued generations, or will at the end of this transaction.

    The flows of a stopped batch stay asleep; the next dispatch puts new ones to sleep. Call it once per transaction, so
    that two transactions never deadlock.
    """
    keys = sorted(set(wanted))
    while keys:
        kept = _KEPT.each(connection, keys)
        found = {Flow(row.provider, row.priority, row.flow, row.pinned): row.asleep_since for row in kept}
        if asleep := [key for key, since in found.items() if since is not None]:
            stopped = connection.execute(_STOPPED, {"ids": sorted({key.flow for key in asleep})}).scalars().all()
            _wake(connection, [key for key in asleep if key.flow not in stopped])
        # Repeat for the new ones: another transaction may create the same flows, and delete them.
        keys = [key for key in keys if key not in found]
        if keys:
            connection.execute(insert_ignoring(connection, flows).values(_NEW), [_named(key) for key in keys])


def stand_down(connection: Connection, barren: Collection[Flow], now: datetime) -> None:
    """Remove flows without queued generations from the queue, unless another transaction is adding them."""
    for key in sorted(barren):
        mine = _named(key)
        if connection.execute(_EMPTY, mine).first() or not connection.execute(_LOCK, mine).first():
            continue
        # Check again, now that nothing can queue it before this transaction ends.
        if connection.execute(_EMPTY, mine).first():
            continue
        # Single generations are one permanent flow; the flow of a batch ends with it.
        keeps_turn = not key.flow or connection.execute(_HELD, mine).first()
        connection.execute(_SLEEP if keeps_turn else _DELETE, mine | {"now": now} if keeps_turn else mine)


def put_to_sleep(connection: Connection, stopped: Collection[Flow], now: datetime) -> None:
    """Take flows of stopped batches out of the queue, unless their batch has been restarted in the meantime."""
    if not stopped:
        return
    still = connection.execute(_KEPT_STOPPED, {"ids": sorted({key.flow for key in stopped})}).scalars().all()
    for key in sorted(stopped):
        if key.flow in still and connection.execute(_LOCK, _named(key)).first():
            connection.execute(_SLEEP, _named(key) | {"now": now})


def put_batch_to_sleep(connection: Connection, batch_id: str, now: datetime) -> None:
    """Take the flows of this batch out of the queue; the caller has locked and stopped the batch."""
    if awake := _AWAKE.all(connection, batch=batch_id):
        connection.execute(_SLEEP, [_named(key) | {"now": now} for key in awake])


def wake_batch(connection: Connection, batch_id: str) -> None:
    """Queue the flows of this batch, which the caller has locked and started."""
    _wake(connection, _ASLEEP.all(connection, batch=batch_id))


def unfinished(connection: Connection) -> Sequence[str]:
    """Return the ids of unfinished batches, which are not visible yet."""
    return connection.execute(_UNFINISHED).scalars().all()


def find_strays(connection: Connection, provider: str, accounts: Sequence[str]) -> list[Flow]:
    """Return flows with queued generations that are missing from the queue; an earlier version may leave some.

    The flows of stopped batches are left out. Returns none while a batch is unfinished: its flows are not strays, and
    distinguishing them would mean reading everything.
    """
    if unfinished(connection):
        return []
    return [flow_of(row) for row in _STRAY.all(connection, provider=provider, ids=accounts)]


def _wake(connection: Connection, asleep: Collection[Flow]) -> None:
    if asleep:
        connection.execute(_WAKE, [_named(key) for key in sorted(asleep)])


def _named(key: Flow) -> dict[str, object]:
    return {f"of_{name}": value for name, value in key._asdict().items()}
