"""Settles reserved money according to the attempts, in the one place that every change of a generation passes."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, and_, bindparam, select

from worker.generation import AttemptState, State
from worker.ledger.labels import A_LABEL, pairs_of
from worker.ledger.schema import (
    COUNTED,
    LATE,
    POSSIBLE,
    RELEASED,
    RESERVED,
    SPENT,
    AnyBudgetKey,
    AnyTable,
    BudgetKey,
    BudgetKind,
    ChargeState,
    LabelKey,
    attempts,
    budget_keys,
    budgets,
    charges,
    generations,
    label_budgets,
)
from worker.ledger.statements import IDS, Change, Query, columns_of, insert_ignoring, update_rows

#: state of an attempt → state of its charge. Unlisted states are unknown, and count.
_OF_ATTEMPT: Mapping[AttemptState, ChargeState] = {
    AttemptState.SENDING: RESERVED,
    AttemptState.ACCEPTED: RESERVED,
    AttemptState.UNCERTAIN: POSSIBLE,
    AttemptState.REJECTED: RELEASED,
    AttemptState.FAILED: RELEASED,
    AttemptState.SUCCEEDED: SPENT,
    # A person found that it was charged without a result.
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
    a_label: str | None
    #: the state of its attempt; None before the attempt exists
    attempt: str | None
    #: the state of its generation
    generation: str
    dispatched_at: datetime | None


class _BudgetRow(NamedTuple):
    kind: str
    day: str
    provider: str
    batch_id: str
    reserved: int
    possible: int
    spent: int
    late: int
    told: str | None


class _LabelBudgetRow(NamedTuple):
    name: str
    value: str
    reserved: int
    possible: int
    spent: int
    late: int
    told: str | None


class Budget(NamedTuple):
    """A row of either table. `amounts`: state → millionths."""

    key: AnyBudgetKey
    amounts: Mapping[ChargeState, int]
    told: str | None

    @property
    def used(self) -> int:
        """The total that counts against the cap."""
        return sum(self.amounts.values())


_c, _a, _g, _b = charges.c, attempts.c, generations.c, budgets.c
_CHARGES = Query(
    _Charge,
    select(
        *(_c.generation_id, _c.number, _c.provider, _c.batch_id, _c.day, _c.price, _c.state, A_LABEL),
        *(_a.state.label("attempt"), _g.state.label("generation"), _g.dispatched_at),
    )
    .join(generations, _g.id == _c.generation_id)
    .outerjoin(attempts, (_a.generation_id == _c.generation_id) & (_a.number == _c.number))
    .where(_c.generation_id.in_(IDS))
    .order_by(_c.generation_id, _c.number),
)
# Not by a list of composite keys, for which SQLite would scan the whole table.
_OF_DAYS = and_(
    _b.kind.in_((BudgetKind.DAY, BudgetKind.PROVIDER)),
    _b.day.in_(bindparam("days", expanding=True)),
    _b.provider.in_(bindparam("providers", expanding=True)),
)
_OF_BATCHES = and_(_b.kind == BudgetKind.BATCH, _b.day == "", _b.provider == "", _b.batch_id.in_(IDS))
_THESE = (
    select(*columns_of(budgets, _BudgetRow))
    .where(_OF_DAYS | _OF_BATCHES)
    .order_by(*[_b[name] for name in BudgetKey._fields])
)
_BUDGETS = Query(_BudgetRow, _THESE)
_LOCKED_BUDGETS = Query(_BudgetRow, _THESE.with_for_update())
_l = label_budgets.c
_OF_LABELS = (
    select(*columns_of(label_budgets, _LabelBudgetRow))
    .where(_l.name.in_(bindparam("names", expanding=True)), _l.value.in_(IDS))
    .order_by(_l.name, _l.value)
)
_LABEL_BUDGETS = Query(_LabelBudgetRow, _OF_LABELS)
_LOCKED_LABEL_BUDGETS = Query(_LabelBudgetRow, _OF_LABELS.with_for_update())


@dataclass(frozen=True, slots=True)
class LateCharge:
    """A generation that succeeded and so is paid for, although its reservation had been released."""

    generation_id: str
    batch_id: str | None
    day: str
    price: int


def settle(connection: Connection, generation_ids: Iterable[str]) -> list[LateCharge]:
    """Update the charges of locked generations to match their attempts; return late charges."""
    late = []
    changed: list[Change] = []
    deltas: defaultdict[AnyBudgetKey, Counter[str]] = defaultdict(Counter)
    becoming = [(row, _becomes(row)) for row in _CHARGES.each(connection, sorted(generation_ids))]
    becoming = [(row, becomes) for row, becomes in becoming if becomes != row.state]
    labels = pairs_of(connection, [row.generation_id for row, _ in becoming if row.a_label is not None])
    for row, becomes in becoming:
        read = {"generation_id": row.generation_id, "number": row.number, "state": row.state}
        changed.append(Change(read, {"state": becomes}))
        for key in budget_keys(row.day, row.provider, row.batch_id, labels.get(row.generation_id, ())):
            deltas[key].update({row.state: -row.price})
            deltas[key].update({becomes: row.price})
        if becomes == LATE:
            late.append(LateCharge(row.generation_id, row.batch_id, row.day, row.price))
    if changed:
        update_rows(connection, charges, changed)
        add(connection, deltas)
    return late


def make_budgets(connection: Connection, keys: Collection[AnyBudgetKey]) -> None:
    """Insert the budgets that do not exist yet, with zero amounts."""
    nothing: dict[str, int] = dict.fromkeys(COUNTED, 0)
    for table, mine in _by_table(keys):
        missing = insert_ignoring(connection, table)
        connection.execute(missing, [{**key._asdict(), **nothing} for key in mine])


def read_budgets(connection: Connection, keys: Collection[AnyBudgetKey], *, locked: bool) -> list[Budget]:
    """Return the existing budgets with these keys.

    `locked`: lock each table with one statement, in key order, labels last; all code locks in this order.
    """
    found: list[Budget] = []
    if mine := [key for key in keys if isinstance(key, BudgetKey)]:
        days, providers, batch_ids = ({key[part] for key in mine} for part in (1, 2, 3))
        query = _LOCKED_BUDGETS if locked else _BUDGETS
        rows = query.all(connection, days=sorted(days), providers=sorted(providers), ids=sorted(batch_ids - {""}))
        for row in rows:
            key = BudgetKey(BudgetKind(row.kind), row.day, row.provider, row.batch_id)
            found.append(Budget(key, _amounts(row), row.told))
    if labels := [key for key in keys if isinstance(key, LabelKey)]:
        names, values = ({key[part] for key in labels} for part in (0, 1))
        of_labels = _LOCKED_LABEL_BUDGETS if locked else _LABEL_BUDGETS
        them = of_labels.all(connection, names=sorted(names), ids=sorted(values))
        found += [Budget(LabelKey(one.name, one.value), _amounts(one), one.told) for one in them]
    known = set(keys)
    return [budget for budget in found if budget.key in known]


def add(connection: Connection, deltas: Mapping[AnyBudgetKey, Mapping[str, int]]) -> None:
    """Add amounts (state → millionths) to existing budgets."""
    rows = {budget.key: budget for budget in read_budgets(connection, deltas, locked=True)}
    for table, keys in _by_table(rows):
        changes = [
            Change(key._asdict(), {str(of): old + deltas[key].get(of, 0) for of, old in rows[key].amounts.items()})
            for key in keys
        ]
        update_rows(connection, table, changes)


def _by_table(keys: Collection[AnyBudgetKey]) -> Iterator[tuple[AnyTable, list[AnyBudgetKey]]]:
    """Yield the keys by table, in the order in which they are locked."""
    for table, kind in ((budgets, BudgetKey), (label_budgets, LabelKey)):
        if mine := sorted(key for key in keys if isinstance(key, kind)):
            yield table, mine


def _amounts(row: _BudgetRow | _LabelBudgetRow) -> Mapping[ChargeState, int]:
    return {RESERVED: row.reserved, POSSIBLE: row.possible, SPENT: row.spent, LATE: row.late}


def charge_of(attempt: str) -> ChargeState:
    """Return the state of the charge for an attempt in this state."""
    return _OF_ATTEMPT[AttemptState(attempt)] if attempt in _OF_ATTEMPT else POSSIBLE


def _becomes(row: _Charge) -> ChargeState:
    if row.attempt is None:
        # Either reserved at dispatch and not claimed yet, or never claimed, because it was cancelled in the meantime.
        return RESERVED if row.generation == State.QUEUED and row.dispatched_at is not None else RELEASED
    state = charge_of(row.attempt)
    return LATE if state == SPENT and row.state in {RELEASED, LATE} else state
