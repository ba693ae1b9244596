"""What becomes of reserved money: read off the attempts, in the one place where every change of a generation ends."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select

from worker.generation import AttemptState, State
from worker.ledger.bulk import Change, update_rows
from worker.ledger.schema import (
    COUNTED,
    LATE,
    POSSIBLE,
    RELEASED,
    RESERVED,
    SPENT,
    ChargeState,
    attempts,
    budgets,
    charges,
    generations,
    scopes,
)
from worker.ledger.statements import IDS, select_in

#: state of an attempt → of its charge. What is not listed is not known, and counts.
_OF_ATTEMPT: Mapping[AttemptState, ChargeState] = {
    AttemptState.SENDING: RESERVED,
    AttemptState.ACCEPTED: RESERVED,
    AttemptState.UNCERTAIN: POSSIBLE,
    AttemptState.REJECTED: RELEASED,
    AttemptState.FAILED: RELEASED,
    AttemptState.SUCCEEDED: SPENT,
    # A person has found out that it was paid for, although nothing came of it.
    AttemptState.CHARGED: SPENT,
}

_c, _a, _g = charges.c, attempts.c, generations.c
_CHARGES = (
    select(charges, _a.state.label("attempt"), _g.state.label("generation"), _g.dispatched_at)
    .join(generations, _g.id == _c.generation_id)
    .outerjoin(attempts, (_a.generation_id == _c.generation_id) & (_a.number == _c.number))
    .where(_c.generation_id.in_(IDS))
    .order_by(_c.generation_id, _c.number)
)
_b = budgets.c
_BUDGETS = (
    select(_b.scope, *(_b[state] for state in COUNTED)).where(_b.scope.in_(IDS)).order_by(_b.scope).with_for_update()
)


@dataclass(frozen=True, slots=True)
class LateCharge:
    """It succeeded, so it is paid for, although its money had been given back."""

    generation_id: str
    batch_id: str | None
    day: str
    price: int


def settle(connection: Connection, generation_ids: Iterable[str]) -> list[LateCharge]:
    """Bring the charges of locked generations to what their attempts say; those that came too late for their cap."""
    late = []
    changed: list[Change] = []
    deltas: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for row in select_in(connection, _CHARGES, sorted(generation_ids)):
        becomes = _becomes(row)
        if becomes == row.state:
            continue
        read = {"generation_id": row.generation_id, "number": row.number, "state": row.state}
        changed.append(Change(read, {"state": becomes}))
        for scope in scopes(row.day, row.provider, row.batch_id):
            deltas[scope].update({row.state: -row.price})
            deltas[scope].update({becomes: row.price})
        if becomes == LATE:
            late.append(LateCharge(row.generation_id, row.batch_id, row.day, row.price))
    if changed:
        update_rows(connection, charges, changed)
        add(connection, deltas)
    return late


def add(connection: Connection, deltas: Mapping[str, Mapping[str, int]]) -> None:
    """Add amounts (state → millionths) to budgets that exist, locked as everybody does: by one statement, by scope."""
    changes = [
        Change(
            {"scope": row.scope},
            {state: getattr(row, state) + deltas[row.scope].get(state, 0) for state in COUNTED},
        )
        for row in select_in(connection, _BUDGETS, sorted(deltas))
    ]
    update_rows(connection, budgets, changes)


def _becomes(row: Any) -> ChargeState:
    if row.attempt is None:
        # Reserved when it was dispatched, and not claimed yet; or never claimed, because it was cancelled meanwhile.
        return RESERVED if row.generation == State.QUEUED and row.dispatched_at is not None else RELEASED
    state = _OF_ATTEMPT.get(row.attempt, POSSIBLE)
    return LATE if state == SPENT and row.state in {RELEASED, LATE} else state
