"""The only place where a generation's state changes."""

import functools
import itertools
import secrets
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, case, literal, select, text, update

from worker import telemetry
from worker.errors import NotFound
from worker.generation import FINAL, OPEN, TRANSITIONS, State
from worker.ledger.batch_sums import counts_of_batches, money_of_batches
from worker.ledger.charges import settle
from worker.ledger.database import after_commit
from worker.ledger.flows import Flow, flow_of, line_up
from worker.ledger.schema import (
    ASKED,
    DISPATCHED,
    FOLLOW_UP_DUE,
    RECIPE_DUE,
    approvals,
    batches,
    events,
    generations,
    in_states,
    transitions,
)
from worker.ledger.statements import IDS, NOW, Query, Updates, Values, columns_of, insert_rows
from worker.pricing import as_text
from worker.secrets import SANDBOX_ACCOUNT

_EVENT_OF_STATE: Mapping[State, str] = {
    State.SUBMITTED: "generation.submitted",
    State.SUCCEEDED: "generation.succeeded",
    State.FAILED: "generation.failed",
    State.UNCONFIRMED: "generation.unconfirmed",
    State.ARCHIVED: "generation.archived",
    State.EXPIRED: "generation.expired",
    State.DELETED: "generation.deleted",
}

#: states whose event includes the reason: the generation may later have a different one, or none
_TOLD_WITH_REASON = frozenset({State.FAILED, State.UNCONFIRMED, State.EXPIRED})
#: progress of a generation is reported at most once per interval of this many seconds
_PROGRESS_EVERY = 5

#: a deleted generation keeps its time of finishing
_FINISHING = (FINAL | {State.SUCCEEDED}) - {State.DELETED}


class _Locked(NamedTuple):
    id: str
    state: str
    batch_id: str | None
    price: int | None
    provider: str
    priority: int
    pinned: str
    progress: int | None


class _Updated(NamedTuple):
    id: str
    updated_at: datetime


class _Batch(NamedTuple):
    id: str
    completed_at: datetime | None


class _Completed(NamedTuple):
    """`completion`: how many times the batch has completed so far."""

    id: str
    completion: int


_g, _b = generations.c, batches.c
_LOCK = Query(
    _Locked,
    select(*columns_of(generations, _Locked))
    .where(_g.id.in_(IDS))
    # In order of id, so that two transactions never deadlock. FOR NO KEY UPDATE: a follow-up that is created
    # concurrently only needs its parent's row to remain.
    .order_by(_g.id)
    .with_for_update(key_share=True),
)
_UPDATED = Query(_Updated, select(*columns_of(generations, _Updated)).where(_g.id.in_(IDS)))
_LOCK_BATCHES = Query(
    _Batch,
    select(*columns_of(batches, _Batch)).where(_b.id.in_(IDS)).order_by(_b.id).with_for_update(key_share=True),
)
# Scalar subqueries, so that each batch is looked up in an index: PostgreSQL would turn EXISTS into a join with all
# generations.
_OPEN_IN_IT, _DUE_IN_IT, _STEPS_IN_IT = (
    select(literal(1)).where(_g.batch_id == _b.id, text(condition)).limit(1).scalar_subquery()
    for condition in (in_states("state", sorted(OPEN)), FOLLOW_UP_DUE, RECIPE_DUE)
)
_ASKED_IN_IT = select(literal(1)).where(approvals.c.batch_id == _b.id, text(ASKED)).limit(1).scalar_subquery()
_COMPLETE = Query(
    _Completed,
    update(batches)
    .where(
        _b.id.in_(IDS),
        _b.completed_at.is_(None),
        _b.unfinished_at.is_(None),
        _OPEN_IN_IT.is_(None),
        _DUE_IN_IT.is_(None),
        _STEPS_IN_IT.is_(None),
        _ASKED_IN_IT.is_(None),
    )
    .values(completed_at=NOW, completions=_b.completions + 1)
    .returning(_b.id, _b.completions.label("completion")),
)
#: makes a batch's manifest due again, even if another worker is about to write the previous one
_OUTDATE_MANIFEST = (
    update(batches).where(_b.id.in_(IDS)).values(manifest_at=None, manifest_lease=None, manifest_not_before=None)
)
# Completions before migration 0034, or by code older than it, were not counted.
_REOPEN = _OUTDATE_MANIFEST.values(completed_at=None, completions=case((_b.completions == 0, 1), else_=_b.completions))
_RECALL = update(generations).where(_g.id.in_(IDS), text(DISPATCHED)).values(dispatched_at=None, account=None)


_ids_made = itertools.count()


def new_id(prefix: str, at: datetime) -> str:
    """Return a sortable id like UUIDv7: 48 bits of milliseconds, a 32-bit counter per process, and 48 random bits."""
    return f"{prefix}_{int(at.timestamp() * 1000):012x}{next(_ids_made) & 0xFFFF_FFFF:08x}{secrets.token_hex(6)}"


@dataclass(frozen=True, slots=True)
class Person:
    """The person who decides, and why (in their own words; may be empty)."""

    name: str
    why: str = ""


class Changes:
    """State changes within one transaction, based on rows that it has locked and written together by `flush`.

    All other code that changes these rows locks the row of their generation first; what was read must still hold when
    the changes are written. `tells_progress`: report a provider's progress as an event.
    """

    def __init__(self, connection: Connection, at: datetime, *, tells_progress: bool = False) -> None:
        self.connection = connection
        self.at = at
        #: includes rows of other tables that belong to these generations
        self.updates = Updates()
        self._states: dict[str, tuple[State, str | None]] = {}
        self._tells_progress = tells_progress
        self._progress: dict[str, int | None] = {}
        #: when they last changed; only if progress is reported
        self._updated: dict[str, datetime] = {}
        self._transitions: list[Values] = []
        self._events: list[Values] = []
        self._perhaps_complete: set[str] = set()
        #: batches in which something continues or begins
        self._opened: set[str] = set()
        self._priced: set[str] = set()
        self._flows: dict[str, Flow] = {}
        self._lined_up: set[Flow] = set()
        self._ids: dict[str, dict[str, str | None]] = {}
        self._told: list[dict[str, str | None]] = []

    def lock(self, generation_ids: Iterable[str]) -> set[str]:
        """Lock generations and read the states from which they move; return the ids that exist."""
        rows = _LOCK.each(self.connection, sorted(set(generation_ids)))
        found = {row.id: (State(row.state), row.batch_id) for row in rows}
        self._states.update(found)
        self._progress.update((row.id, row.progress) for row in rows)
        if self._tells_progress:
            self._updated.update(_UPDATED.each(self.connection, list(found)))
        self._priced.update(row.id for row in rows if row.price is not None)
        self._flows.update((row.id, flow_of(row)) for row in rows)
        return set(found)

    def has_price(self, generation_ids: Iterable[str]) -> None:
        """Note that these generations have a price now, although they had none when they were locked."""
        self._priced.update(generation_ids)

    def bind(self, generation_id: str, **ids: str | None) -> None:
        """Set the ids with which its moves are logged: attempt, account."""
        self._ids[generation_id] = ids

    def is_test(self, generation_id: str) -> bool:
        """Return whether this locked generation is made by the sandbox."""
        return self._flows[generation_id].pinned == SANDBOX_ACCOUNT

    def state(self, generation_id: str) -> State:
        return self._states[generation_id][0]

    def move(self, generation_id: str, to: State, cause: str, **values: object) -> bool:
        """Move a locked generation and set `values` with it; return False if its state no longer allows the move."""
        source, batch_id = self._states[generation_id]
        if to not in TRANSITIONS[source]:
            return False
        if to in _FINISHING:
            values.setdefault("finished_at", self.at)
        self._set(generation_id, state=to, **values)
        why = {name: values[name] for name in ("reason", "message") if to in _TOLD_WITH_REASON and values.get(name)}
        self.record(generation_id, batch_id, source, to, cause, **why)
        return True

    def advance(self, generation_id: str, progress: int) -> bool:
        """Record the provider's progress; return False if it is not new: callbacks may arrive out of order."""
        if (before := self._progress[generation_id]) is not None and before >= progress:
            return False
        self._progress[generation_id] = progress
        if self._tells_progress and _span_of(self._updated[generation_id]) != _span_of(self.at):
            self._updated[generation_id] = self.at
            self.event("generation.progress", generation_id=generation_id, progress=progress)
        self._set(generation_id, progress=progress)
        return True

    def _set(self, generation_id: str, **values: object) -> None:
        read = {"state": self._states[generation_id][0]}
        self.updates.set(generations, generation_id, read, {"updated_at": self.at, **values})

    def record(
        self, generation_id: str, batch_id: str | None, source: State | None, to: State, cause: str, **told: object
    ) -> None:
        """Record a move that the caller has written, or will write. `told`: facts for its event."""
        self._states[generation_id] = (to, batch_id)
        self._transitions.append(
            {"generation_id": generation_id, "from": source, "to": to, "at": self.at, "cause": cause}
        )
        if telemetry.tells_transitions():
            flow = self._flows.get(generation_id)
            ids = {"provider": flow and flow.provider, **self._ids.get(generation_id, {})}
            moved = {"from": source, "to": to, "reason": cause}
            self._told.append({"generation": generation_id, "batch": batch_id, **ids, **moved})
        if to in _EVENT_OF_STATE:
            self.event(_EVENT_OF_STATE[to], generation_id=generation_id, batch_id=batch_id, **told)
        if to in FINAL:
            self.look_at_batch(batch_id)
        elif source is None or source in FINAL:
            self._open_batch(batch_id)
        if to is State.QUEUED and source is not None:
            self.line_up([generation_id])

    def line_up(self, generation_ids: Iterable[str]) -> None:
        """Put locked generations back in line; `flush` writes this."""
        self._lined_up.update(self._flows[generation_id] for generation_id in generation_ids)

    def recall(self, generation_ids: Sequence[str]) -> None:
        """Put generations that are dispatched and unclaimed back in line; the caller holds their rows."""
        self.lock(generation_ids)
        self.connection.execute(_RECALL, {"ids": list(generation_ids)})
        self.line_up(generation_ids)

    def move_to_provider(self, generation_id: str, provider: str, **values: object) -> None:
        """Move a locked generation to another provider's line, and set `values` with it."""
        self._set(generation_id, provider=provider, **values)
        self._flows[generation_id] = self._flows[generation_id]._replace(provider=provider)
        self.line_up([generation_id])

    def event(
        self, name: str, *, generation_id: str | None = None, batch_id: str | None = None, **payload: object
    ) -> None:
        self._events.append(
            {"at": self.at, "type": name, "generation_id": generation_id, "batch_id": batch_id, "payload": payload}
        )

    def look_at_batch(self, batch_id: str | None) -> None:
        """Note that something in the batch ended; `flush` checks whether the batch is complete."""
        if batch_id is not None:
            self._perhaps_complete.add(batch_id)

    def reopen_batch_of(self, generation_id: str) -> None:
        """Note that more will follow this generation: its batch will complete again."""
        self._open_batch(self._states[generation_id][1])

    def _open_batch(self, batch_id: str | None) -> None:
        """Note that the batch's reported totals no longer hold: a late success, a retry, or something new."""
        if batch_id is not None:
            self._opened.add(batch_id)

    def write(self) -> None:
        """Write the decisions so far, for queries before `flush`. Raises RowsChanged."""
        self.updates.write(self.connection)

    def flush(self) -> None:
        """Write all changes, transitions and events, and settle batches and charges. Raises RowsChanged."""
        self.write()
        line_up(self.connection, self._lined_up)
        completed = self._settle_batches()
        self._settle()
        self._tell_completed(completed)
        insert_rows(self.connection, transitions, self._transitions)
        insert_rows(self.connection, events, self._events)
        for told in self._told:
            # Changes that are rolled back have not happened.
            after_commit(self.connection, functools.partial(telemetry.transition, told))

    def _settle(self) -> None:
        """Settle the charges, in one place and last: they follow whatever was done to generations and attempts."""
        for late in settle(self.connection, self._priced) if self._priced else ():
            of = {"generation_id": late.generation_id, "batch_id": late.batch_id}
            self.event("budget.late_charge", **of, amount=as_text(late.price), day=late.day)

    def _settle_batches(self) -> Sequence[_Completed]:
        """Complete the batches whose generations are all final, with no follow-up or decision pending."""
        touched = sorted(self._opened | self._perhaps_complete)
        if not touched:
            return ()
        # Lock in order of id, after the generations, and before checking anything: otherwise, two transactions that end
        # the last two generations of a batch would each see the other's as open, and the batch would never complete.
        rows = _LOCK_BATCHES.each(self.connection, touched)
        complete = {row.id for row in rows if row.completed_at is not None}
        if reopened := sorted(self._opened & complete):
            self.connection.execute(_REOPEN, {"ids": reopened})
        complete -= self._opened
        if changed := sorted(self._perhaps_complete & complete):
            # Something was deleted, and their manifests still list it.
            self.connection.execute(_OUTDATE_MANIFEST, {"ids": changed})
        perhaps = sorted(self._perhaps_complete - complete)
        if not perhaps:
            return ()
        return sorted(_COMPLETE.all(self.connection, ids=perhaps, now=self.at))

    def _tell_completed(self, completed: Sequence[_Completed]) -> None:
        """Report completed batches, after their money is settled. The totals of a reopened batch change later."""
        batch_ids = [one.id for one in completed]
        counts = counts_of_batches(self.connection, batch_ids) if batch_ids else {}
        money = money_of_batches(self.connection, batch_ids) if batch_ids else {}
        for batch_id, completion in completed:
            spent = money.get(batch_id)
            cost = {"known": as_text(spent.known), "possible": as_text(spent.possible)} if spent else None
            told = counts[batch_id]
            self.event("batch.completed", batch_id=batch_id, completion=completion, counts=told, cost=cost)


def _span_of(at: datetime) -> int:
    return int(at.timestamp()) // _PROGRESS_EVERY


def lock_known(changes: Changes, generation_ids: Sequence[str]) -> None:
    require_known(generation_ids, changes.lock(generation_ids))


def require_known(generation_ids: Sequence[str], known: Collection[str]) -> None:
    unknown = [generation_id for generation_id in generation_ids if generation_id not in known]
    if unknown:
        raise NotFound(f"there is no generation {unknown[0]}; `darkroom list` shows those that exist")
