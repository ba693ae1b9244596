"""The one place where a generation changes its state."""

import functools
import itertools
import secrets
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, select, text, update

from worker import telemetry
from worker.errors import NotFound
from worker.generation import FINAL, OPEN, TRANSITIONS, State
from worker.ledger.charges import settle
from worker.ledger.database import after_commit
from worker.ledger.flows import Flow, flow_of, line_up
from worker.ledger.schema import FOLLOW_UP_DUE, CleanText, batches, events, generations, transitions
from worker.ledger.statements import IDS, NOW, select_in, update_row
from worker.pricing import as_text

_EVENT_OF_STATE: Mapping[State, str] = {
    State.SUBMITTED: "generation.submitted",
    State.SUCCEEDED: "generation.succeeded",
    State.FAILED: "generation.failed",
    State.UNCONFIRMED: "generation.unconfirmed",
    State.ARCHIVED: "generation.archived",
    State.EXPIRED: "generation.expired",
    State.DELETED: "generation.deleted",
}

#: a deleted one keeps the time at which it finished
_FINISHING = (FINAL | {State.SUCCEEDED}) - {State.DELETED}

_g = generations.c
_LOCK = (
    select(_g.id, _g.state, _g.batch_id, _g.price, _g.provider, _g.priority, _g.pinned)
    .where(_g.id.in_(IDS))
    # In order of id, so that two transactions never wait for each other in a circle. FOR NO KEY UPDATE: a follow-up
    # that is created meanwhile only needs its parent's row to stay.
    .order_by(_g.id)
    .with_for_update(key_share=True)
)
_BATCH = bindparam("batch", type_=CleanText())
_LOCK_BATCH = select(batches.c.completed_at).where(batches.c.id == _BATCH).with_for_update(key_share=True)
_IN_BATCH = select(_g.id).where(_g.batch_id == _BATCH)
_COMPLETE_BATCH = (
    update(batches)
    .where(
        batches.c.id == _BATCH,
        batches.c.completed_at.is_(None),
        batches.c.unfinished_at.is_(None),
        ~_IN_BATCH.where(_g.state.in_(OPEN)).exists(),
        ~_IN_BATCH.where(text(FOLLOW_UP_DUE)).exists(),
    )
    .values(completed_at=NOW)
)
#: the manifest of a batch is to be written again, whoever is about to write the one before
_NO_MANIFEST: Mapping[str, None] = dict.fromkeys(("manifest_at", "manifest_lease", "manifest_not_before"))
_OUTDATE_MANIFEST = update(batches).where(batches.c.id == _BATCH).values(_NO_MANIFEST)


_ids_made = itertools.count()


def new_id(prefix: str, at: datetime) -> str:
    """A sortable id like UUIDv7: 48 bits of milliseconds, 32 that count those of this process, and 48 random ones."""
    return f"{prefix}_{int(at.timestamp() * 1000):012x}{next(_ids_made) & 0xFFFF_FFFF:08x}{secrets.token_hex(6)}"


@dataclass(frozen=True, slots=True)
class Person:
    """Who decides, and why (in their own words; may be empty)."""

    name: str
    why: str = ""


class Changes:
    """State changes within one transaction: history and events are written with them when `flush` is called."""

    def __init__(self, connection: Connection, at: datetime) -> None:
        self.connection = connection
        self.at = at
        self._states: dict[str, tuple[State, str | None]] = {}
        self._transitions: list[dict[str, Any]] = []
        self._events: list[dict[str, Any]] = []
        self._perhaps_complete: set[str] = set()
        self._reopened: set[str] = set()
        self._priced: set[str] = set()
        self._flows: dict[str, Flow] = {}
        self._lined_up: set[Flow] = set()
        self._ids: dict[str, dict[str, str | None]] = {}
        self._told: list[dict[str, str | None]] = []

    def lock(self, generation_ids: Iterable[str]) -> set[str]:
        """Read the states that the moves start from, and keep others from changing them; the ids that exist."""
        rows = select_in(self.connection, _LOCK, sorted(set(generation_ids)))
        found = {row.id: (State(row.state), row.batch_id) for row in rows}
        self._states.update(found)
        self._priced.update(row.id for row in rows if row.price is not None)
        self._flows.update((row.id, flow_of(row)) for row in rows)
        return set(found)

    def has_price(self, generation_ids: Iterable[str]) -> None:
        """They had none when they were locked."""
        self._priced.update(generation_ids)

    def bind(self, generation_id: str, **ids: str | None) -> None:
        """Ids that its moves are logged with: attempt, account."""
        self._ids[generation_id] = ids

    def state(self, generation_id: str) -> State:
        return self._states[generation_id][0]

    def move(self, generation_id: str, to: State, cause: str, **values: Any) -> bool:
        """Move a locked generation and set `values` with it; False when its state does not allow that any more."""
        source, batch_id = self._states[generation_id]
        if to not in TRANSITIONS[source]:
            return False
        if to in _FINISHING:
            values.setdefault("finished_at", self.at)
        at_source = {"id": generation_id, "state": source}
        if update_row(self.connection, generations, at_source, state=to, updated_at=self.at, **values) != 1:
            return False
        self.record(generation_id, batch_id, source, to, cause)
        return True

    def move_all(self, generation_ids: Iterable[str], to: State, cause: str, **values: Any) -> None:
        """Move those of them whose state allows it, in one statement for each state that they are in."""
        sources: defaultdict[State, list[str]] = defaultdict(list)
        for generation_id in generation_ids:
            sources[self.state(generation_id)].append(generation_id)
        if to in _FINISHING:
            values.setdefault("finished_at", self.at)
        for source, ids in sources.items():
            if to not in TRANSITIONS[source]:
                continue
            mine = update(generations).where(_g.id.in_(IDS), _g.state == source).returning(_g.id)
            moving = mine.values(state=to, updated_at=self.at, **values)
            moved = set(self.connection.execute(moving, {"ids": ids}).scalars())
            for generation_id in ids:
                if generation_id in moved:
                    self.record(generation_id, self._states[generation_id][1], source, to, cause)

    def record(self, generation_id: str, batch_id: str | None, source: State | None, to: State, cause: str) -> None:
        """Note a move that a bulk statement has made."""
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
            self.event(_EVENT_OF_STATE[to], generation_id=generation_id, batch_id=batch_id)
        if to in FINAL:
            self.look_at_batch(batch_id)
        if to is State.QUEUED and source is not None:
            self.line_up([generation_id])

    def line_up(self, generation_ids: Iterable[str]) -> None:
        """Those that were locked wait again; noted by `flush`."""
        self._lined_up.update(self._flows[generation_id] for generation_id in generation_ids)

    def event(
        self, name: str, *, generation_id: str | None = None, batch_id: str | None = None, **payload: Any
    ) -> None:
        self._events.append(
            {"at": self.at, "type": name, "generation_id": generation_id, "batch_id": batch_id, "payload": payload}
        )

    def look_at_batch(self, batch_id: str | None) -> None:
        """Something ended in it, so it may be complete now; looked at by `flush`."""
        if batch_id is not None:
            self._perhaps_complete.add(batch_id)

    def reopen_batch_of(self, generation_id: str) -> None:
        """A person started one of its generations again: it will be complete once more."""
        batch_id = self._states[generation_id][1]
        if batch_id is not None:
            self._reopened.add(batch_id)

    def flush(self) -> None:
        line_up(self.connection, self._lined_up)
        # In order of id, like the generations before them.
        for batch_id in sorted(self._reopened):
            reopened = update(batches).where(batches.c.id == batch_id).values(completed_at=None, **_NO_MANIFEST)
            self.connection.execute(reopened)
        for batch_id in sorted(self._perhaps_complete):
            self._complete_batch(batch_id)
        self._settle()
        if self._transitions:
            self.connection.execute(transitions.insert(), self._transitions)
        if self._events:
            self.connection.execute(events.insert(), self._events)
        for told in self._told:
            # What is rolled back has not happened.
            after_commit(self.connection, functools.partial(telemetry.transition, told))

    def _settle(self) -> None:
        """Here and last: whatever was done to these generations and their attempts, their money follows it."""
        for late in settle(self.connection, self._priced) if self._priced else ():
            of = {"generation_id": late.generation_id, "batch_id": late.batch_id}
            self.event("budget.late_charge", **of, amount=as_text(late.price), day=late.day)

    def _complete_batch(self, batch_id: str) -> None:
        """Note that a batch is complete: all its generations are final and no follow-up is still to be created."""
        # Locked before anything is counted: of two transactions that end its last two generations, each would still
        # see the other's as open, and the batch would never be complete.
        if self.connection.execute(_LOCK_BATCH, {"batch": batch_id}).scalar_one() is not None:
            # A late success: it was complete before, but its manifest tells of a failure.
            self.connection.execute(_OUTDATE_MANIFEST, {"batch": batch_id})
            return
        completed = self.connection.execute(_COMPLETE_BATCH, {"batch": batch_id, "now": self.at})
        if completed.rowcount == 1:
            self.event("batch.completed", batch_id=batch_id)


def lock_known(changes: Changes, generation_ids: Sequence[str]) -> None:
    require_known(generation_ids, changes.lock(generation_ids))


def require_known(generation_ids: Sequence[str], known: Collection[str]) -> None:
    unknown = [generation_id for generation_id in generation_ids if generation_id not in known]
    if unknown:
        raise NotFound(f"there is no generation {unknown[0]}; `darkroom list` shows those that exist")
