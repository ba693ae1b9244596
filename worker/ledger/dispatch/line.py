"""The queue: flows take turns, and pinned generations go only to their own account."""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from heapq import heapify, heappop, heapreplace
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, literal, select, text, tuple_, update

from worker.ledger.batches import Quotas
from worker.ledger.budget import TIER
from worker.ledger.flows import Flow, put_to_sleep, stand_down
from worker.ledger.labels import A_LABEL
from worker.ledger.schema import ANY_ACCOUNT, AWAKE, FLOW, STOPPED, WAITING, CleanText, batches, flows, generations
from worker.ledger.statements import LIMIT, NOW, Query
from worker.secrets import SANDBOX_ACCOUNT

#: at least this many flows are read at once
_PAGE = 20
#: the most flows without dispatchable work that leave the queue at once: dispatch must be bounded even after a mass
#: cancellation
_MOST_BARREN = 50


class Waiting(NamedTuple):
    """A locked generation that is in line."""

    id: str
    turn: int
    pinned: str
    batch_id: str | None
    tries: int
    price: int | None
    operation: str
    speed: str | None
    version: str | None
    extras: Sequence[str] | None
    prompt: str | None
    options: Mapping[str, object] | None
    a_label: str | None


class _Turn(NamedTuple):
    priority: int
    turn: int
    flow: str


class _Barren(NamedTuple):
    priority: int
    flow: str
    is_stopped: bool


_f, _g = flows.c, generations.c
_PROVIDER = bindparam("provider", type_=CleanText())
_TO = bindparam("to", type_=CleanText())
# The first waiting generation of a flow, worded and ordered as in its index, which SQLite would not use for a bare
# column.
_WAITS = (
    select(literal(1))
    .where(
        _g.provider == _f.provider,
        _g.pinned == _f.pinned,
        _g.priority == _f.priority,
        text(f"{FLOW} = flows.flow || ''"),
        text(WAITING),
    )
    .order_by(_g.turn, _g.id)
    .limit(1)
    .correlate(flows)
)
_IS_READY = _WAITS.where(_g.not_before.is_(None) | (_g.not_before <= NOW)).scalar_subquery().is_not(None)
# A scalar subquery by key: for EXISTS, PostgreSQL would read all batches.
_STOPPED = select(literal(1)).where(batches.c.id == _f.flow, text(STOPPED)).limit(1).correlate(flows).scalar_subquery()
_IS_MINE = (_f.provider == _PROVIDER, _f.pinned == _TO, text(AWAKE))
# By priority, then by turn. The database skips flows of which nothing may go now: there may be thousands, and accounts
# and budgets are locked in the meantime.
_FLOWS = Query(
    _Turn,
    select(_f.priority, _f.turn, _f.flow)
    .where(*_IS_MINE, _IS_READY, _STOPPED.is_(None))
    .order_by(_f.priority.desc(), _f.turn, _f.flow)
    .limit(LIMIT)
    .offset(bindparam("offset")),
)
_BARREN = Query(
    _Barren,
    select(_f.priority, _f.flow, _STOPPED.is_not(None).label("is_stopped"))
    .where(*_IS_MINE, _WAITS.scalar_subquery().is_(None) | _STOPPED.is_not(None))
    .limit(LIMIT),
)
_ROWS = Query(
    Waiting,
    select(_g.id, _g.turn, _g.pinned, _g.batch_id, _g.tries, _g.price, *TIER, A_LABEL)
    .where(
        _g.provider == _PROVIDER,
        _g.pinned == _TO,
        _g.priority == bindparam("priority"),
        text(f"{FLOW} = :flow").bindparams(bindparam("flow", type_=CleanText())),
        text(WAITING),
        _g.not_before.is_(None) | (_g.not_before <= NOW),
        tuple_(_g.turn, _g.id) > tuple_(bindparam("after", type_=_g.turn.type), bindparam("id", type_=CleanText())),
    )
    .order_by(_g.turn, _g.id)
    .limit(LIMIT)
    .with_for_update(skip_locked=True),
)
# Not sleeping flows: a transaction that wakes one may be waiting for the budgets that dispatch has locked.
_SERVED = (
    update(flows)
    .where(
        text(AWAKE),
        _f.provider == bindparam("whose", type_=CleanText()),
        _f.priority == bindparam("of"),
        _f.flow == bindparam("named", type_=CleanText()),
    )
    .values(turn=bindparam("served"))
)


class Rooms:
    """How many more generations may go to each account of one provider; at most `most` in total.

    The sandbox differs from other accounts: what may go to any account never goes there. Raises ValueError if it is
    combined with others.
    """

    def __init__(self, free: Mapping[str, int], most: int) -> None:
        self._takes_any = SANDBOX_ACCOUNT not in free
        if not self._takes_any and len(free) > 1:
            raise ValueError(f"the sandbox is among other accounts: {', '.join(free)}")
        share = max(1, most // (len(free) or 1))
        self.free = {account: min(room, share) for account, room in free.items() if room > 0}
        self._cut = [account for account, room in free.items() if room > share]

    @property
    def total(self) -> int:
        return sum(self.free.values())

    @property
    def are_used_up(self) -> bool:
        """Whether an account has used up the room that it was given here, but has more."""
        return any(not self.free[account] for account in self._cut)

    @property
    def by_pin(self) -> Mapping[str, int]:
        """The room by pin: of each account, and of any account if generations may go anywhere."""
        return ({ANY_ACCOUNT: self.total} | self.free) if self._takes_any else self.free

    def place(self, pinned: str) -> str | None:
        """Return the account for the next one: its own, or the one with the most room; None if there is no room."""
        if pinned != ANY_ACCOUNT or not self._takes_any:
            return pinned if self.free.get(pinned) else None
        account = max(self.free, key=self.free.__getitem__, default=None)
        return account if account is not None and self.free[account] else None

    def take(self, account: str) -> None:
        self.free[account] -= 1


@dataclass(slots=True)
class _Queue:
    """The waiting generations of one flow that may go to the same accounts, read `size` at a time."""

    size: int
    rows: deque[Waiting] = field(default_factory=deque)
    last: tuple[int, str] = (-1, "")
    has_more: bool = True


@dataclass(slots=True)
class _Flow:
    turn: int
    queues: dict[str, _Queue] = field(default_factory=dict)


class Line:
    """Waiting generations, one at a time, while their accounts have room; each is taken or left before the next.

    One query reads what may go anywhere, and one per account with room reads what is pinned to it. Generations pinned
    to other accounts are never read, nor are generations of batches without room of their own.
    """

    def __init__(
        self, connection: Connection, provider: str, turn: int, rooms: Rooms, *, further: int, now: datetime
    ) -> None:
        """`turn`: of the last dispatched one; `further`: how many may be considered beyond those with room."""
        #: of the last taken one
        self.turn = turn
        #: more could go, but has not been read
        self.is_cut = False
        self._connection = connection
        self._provider = provider
        self._now = now
        self._rooms = rooms
        self._quotas = Quotas(connection, now)
        # Keyed by rank and name; a higher priority has a lower rank.
        self._flows: dict[tuple[int, str], _Flow] = {}
        self._served: dict[tuple[int, str], int] = {}
        self._barren: list[Flow] = []
        self._stopped: list[Flow] = []
        #: pin → the last flow that was read, if there are others behind it
        self._ends: dict[str, tuple[int, int, str]] = {}
        for pinned, room in rooms.by_pin.items() if rooms.total else ():
            self._read(pinned, room, further)
        self._heap = [(rank, flow.turn, name) for (rank, name), flow in self._flows.items()]
        heapify(self._heap)

    def ready(self) -> list[Waiting]:
        """Return the rows that have been read and neither taken nor left."""
        return [row for flow in self._flows.values() for queue in flow.queues.values() for row in queue.rows]

    def next(self) -> tuple[Waiting, str] | None:
        """Return the next row, locked, and its account; None if none is left or none can be dispatched."""
        while self._heap:
            first = self._heap[0]
            if any(end < first and self._rooms.place(pinned) for pinned, end in self._ends.items()):
                self.cut()
            elif (found := self._first_of(first[0], first[2])) is not None:
                return found
            else:
                heappop(self._heap)
        # A batch with several flows may have used up its room before the last of them.
        self.is_cut = self.is_cut or any(self._rooms.place(pinned) for pinned in self._ends)
        return None

    def take(self, row: Waiting, account: str) -> None:
        """Dispatch the row; its flow moves to the end of the line."""
        self._rooms.take(account)
        self._quotas.take(row.batch_id)
        self.leave(row)
        rank, _, name = self._heap[0]
        self.turn += 1
        self._served[rank, name] = self.turn
        heapreplace(self._heap, (rank, self.turn, name))

    def leave(self, row: Waiting) -> None:
        """Skip the row; its flow is still next."""
        rank, _, name = self._heap[0]
        self._flows[rank, name].queues[row.pinned].rows.popleft()

    def cut(self) -> None:
        """End the line: nothing else goes now."""
        self.is_cut = True
        self._heap.clear()

    def close(self) -> None:
        """Record which flows had a turn, which no longer have anything queued, and which are stopped."""
        served = [
            {"whose": self._provider, "of": -rank, "named": name, "served": turn}
            for (rank, name), turn in sorted(self._served.items(), key=lambda item: (-item[0][0], item[0][1]))
        ]
        if served:
            self._connection.execute(_SERVED, served)
        stand_down(self._connection, self._barren, self._now)
        put_to_sleep(self._connection, self._stopped, self._now)

    def _read(self, pinned: str, room: int, further: int) -> None:
        """Read as many flows as there is room for, because each may have one turn, and a share of each."""
        barren = _BARREN.all(self._connection, provider=self._provider, to=pinned, limit=_MOST_BARREN)
        for one in barren:
            leaving = self._stopped if one.is_stopped else self._barren
            leaving.append(Flow(self._provider, one.priority, one.flow, pinned))
        offset = found = 0
        while True:
            limit = max(room - found, _PAGE)
            page = _FLOWS.all(
                self._connection, provider=self._provider, to=pinned, now=self._now, limit=limit, offset=offset
            )
            size = -(-(room + further) // (min(len(page), room) or 1))
            self._quotas.open([row.flow for row in page])
            for row in page:
                if found == room:
                    return
                if not self._quotas.has_room(row.flow):
                    continue
                queue = _Queue(size)
                self._fill(queue, pinned, row.priority, row.flow)
                if not queue.rows:
                    continue
                found += 1
                flow = self._flows.setdefault((-row.priority, row.flow), _Flow(row.turn))
                flow.turn = max(flow.turn, row.turn)
                flow.queues[pinned] = queue
                self._ends[pinned] = (-row.priority, row.turn, row.flow)
            offset += len(page)
            if len(page) < limit:
                self._ends.pop(pinned, None)
                return

    def _fill(self, queue: _Queue, pinned: str, priority: int, name: str) -> None:
        after, last_id = queue.last
        whose = {"provider": self._provider, "to": pinned, "priority": priority, "flow": name}
        which = {"now": self._now, "after": after, "id": last_id, "limit": queue.size}
        rows = _ROWS.all(self._connection, **whose, **which)
        queue.rows.extend(rows)
        queue.has_more = len(rows) == queue.size
        if rows:
            queue.last = (rows[-1].turn, rows[-1].id)

    def _first_of(self, rank: int, name: str) -> tuple[Waiting, str] | None:
        found: list[tuple[Waiting, str]] = []
        if not self._quotas.has_room(name):
            return None
        for pinned, queue in self._flows[rank, name].queues.items():
            account = self._rooms.place(pinned)
            if account is None:
                continue
            if not queue.rows and queue.has_more:
                self._fill(queue, pinned, -rank, name)
            if queue.rows:
                found.append((queue.rows[0], account))
        return min(found, key=lambda one: (one[0].turn, one[0].id), default=None)
