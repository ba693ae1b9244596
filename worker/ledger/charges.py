"""What becomes of reserved money: read off the attempts, in the one place where every change of a generation ends."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BigInteger, Connection, bindparam, select, update

from worker.generation import AttemptState, State
from worker.ledger.schema import (
    COUNTED,
    LATE,
    POSSIBLE,
    RELEASED,
    RESERVED,
    SPENT,
    BudgetKey,
    ChargeState,
    CleanText,
    attempts,
    budget_keys,
    budgets,
    charges,
    generations,
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
)
_SETTLE = (
    update(charges)
    .where(_c.generation_id == bindparam("of", type_=CleanText()), _c.number == bindparam("nth"))
    .values(state=bindparam("becomes"))
)
_ADD = (
    update(budgets)
    .where(*[budgets.c[name] == bindparam(f"of_{name}", type_=CleanText()) for name in BudgetKey._fields])
    .values({state: budgets.c[state] + bindparam(f"add_{state}", type_=BigInteger) for state in COUNTED})
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
    changed = []
    deltas: defaultdict[BudgetKey, Counter[str]] = defaultdict(Counter)
    for row in select_in(connection, _CHARGES, sorted(generation_ids)):
        becomes = _becomes(row)
        if becomes == row.state:
            continue
        changed.append({"of": row.generation_id, "nth": row.number, "becomes": becomes})
        for key in budget_keys(row.day, row.provider, row.batch_id):
            deltas[key].update({row.state: -row.price})
            deltas[key].update({becomes: row.price})
        if becomes == LATE:
            late.append(LateCharge(row.generation_id, row.batch_id, row.day, row.price))
    if changed:
        connection.execute(_SETTLE, changed)
        add(connection, deltas)
    return late


def add(connection: Connection, deltas: Mapping[BudgetKey, Mapping[str, int]]) -> None:
    """Add amounts (state → millionths) to budgets that exist; in the order in which everybody locks them."""
    rows = [
        {f"of_{name}": part for name, part in key._asdict().items()}
        | {f"add_{state}": deltas[key].get(state, 0) for state in COUNTED}
        for key in sorted(deltas)
    ]
    connection.execute(_ADD, rows)


def _becomes(row: Any) -> ChargeState:
    if row.attempt is None:
        # Reserved when it was dispatched, and not claimed yet; or never claimed, because it was cancelled meanwhile.
        return RESERVED if row.generation == State.QUEUED and row.dispatched_at is not None else RELEASED
    state = _OF_ATTEMPT.get(row.attempt, POSSIBLE)
    return LATE if state == SPENT and row.state in {RELEASED, LATE} else state
