"""What becomes of reserved money: read off the attempts, in the one place where every change of a generation ends."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, and_, bindparam, select

from worker.generation import AttemptState, State
from worker.ledger.schema import (
    COUNTED,
    LATE,
    POSSIBLE,
    RELEASED,
    RESERVED,
    SPENT,
    BudgetKey,
    BudgetKind,
    ChargeState,
    attempts,
    budget_keys,
    budgets,
    charges,
    generations,
)
from worker.ledger.statements import IDS, Change, Query, columns_of, update_rows

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


class _Charge(NamedTuple):
    generation_id: str
    number: int
    provider: str
    batch_id: str | None
    day: str
    price: int
    state: str
    #: the state of its attempt; None before that is made
    attempt: str | None
    #: the state of its generation
    generation: str
    dispatched_at: datetime | None


class BudgetRow(NamedTuple):
    kind: str
    day: str
    provider: str
    batch_id: str
    reserved: int
    possible: int
    spent: int
    late: int
    told: str | None

    @property
    def key(self) -> BudgetKey:
        return BudgetKey(BudgetKind(self.kind), self.day, self.provider, self.batch_id)

    @property
    def used(self) -> int:
        """All that counts against its cap."""
        return self.reserved + self.possible + self.spent + self.late


_c, _a, _g, _b = charges.c, attempts.c, generations.c, budgets.c
_CHARGES = Query(
    _Charge,
    select(
        *(_c.generation_id, _c.number, _c.provider, _c.batch_id, _c.day, _c.price, _c.state),
        *(_a.state.label("attempt"), _g.state.label("generation"), _g.dispatched_at),
    )
    .join(generations, _g.id == _c.generation_id)
    .outerjoin(attempts, (_a.generation_id == _c.generation_id) & (_a.number == _c.number))
    .where(_c.generation_id.in_(IDS))
    .order_by(_c.generation_id, _c.number),
)
# Not by a list of whole keys, for which SQLite reads the whole table.
_OF_DAYS = and_(
    _b.kind.in_((BudgetKind.DAY, BudgetKind.PROVIDER)),
    _b.day.in_(bindparam("days", expanding=True)),
    _b.provider.in_(bindparam("providers", expanding=True)),
)
_OF_BATCHES = and_(_b.kind == BudgetKind.BATCH, _b.day == "", _b.provider == "", _b.batch_id.in_(IDS))
_THESE = (
    select(*columns_of(budgets, BudgetRow))
    .where(_OF_DAYS | _OF_BATCHES)
    .order_by(*[_b[name] for name in BudgetKey._fields])
)
_BUDGETS = Query(BudgetRow, _THESE)
_LOCKED_BUDGETS = Query(BudgetRow, _THESE.with_for_update())


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
    deltas: defaultdict[BudgetKey, Counter[str]] = defaultdict(Counter)
    for row in _CHARGES.each(connection, sorted(generation_ids)):
        becomes = _becomes(row)
        if becomes == row.state:
            continue
        read = {"generation_id": row.generation_id, "number": row.number, "state": row.state}
        changed.append(Change(read, {"state": becomes}))
        for key in budget_keys(row.day, row.provider, row.batch_id):
            deltas[key].update({row.state: -row.price})
            deltas[key].update({becomes: row.price})
        if becomes == LATE:
            late.append(LateCharge(row.generation_id, row.batch_id, row.day, row.price))
    if changed:
        update_rows(connection, charges, changed)
        add(connection, deltas)
    return late


def read_budgets(connection: Connection, keys: Collection[BudgetKey], *, locked: bool) -> list[BudgetRow]:
    """Return the budgets with these keys that exist. Locked: by one statement, in key order, like all lockers."""
    days, providers, batch_ids = ({key[part] for key in keys} for part in (1, 2, 3))
    query = _LOCKED_BUDGETS if locked else _BUDGETS
    rows = query.all(connection, days=sorted(days), providers=sorted(providers), ids=sorted(batch_ids - {""}))
    return [row for row in rows if row.key in keys]


def add(connection: Connection, deltas: Mapping[BudgetKey, Mapping[str, int]]) -> None:
    """Add amounts (state → millionths) to budgets that exist."""
    changes = [
        Change(row.key._asdict(), {state: getattr(row, state) + deltas[row.key].get(state, 0) for state in COUNTED})
        for row in read_budgets(connection, deltas, locked=True)
    ]
    update_rows(connection, budgets, changes)


def _becomes(row: _Charge) -> ChargeState:
    if row.attempt is None:
        # Reserved when it was dispatched, and not claimed yet; or never claimed, because it was cancelled meanwhile.
        return RESERVED if row.generation == State.QUEUED and row.dispatched_at is not None else RELEASED
    state = _OF_ATTEMPT[AttemptState(row.attempt)] if row.attempt in _OF_ATTEMPT else POSSIBLE
    return LATE if state == SPENT and row.state in {RELEASED, LATE} else state
