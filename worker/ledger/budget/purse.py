"""The remaining budgets of one provider while its generations are dispatched."""

from collections.abc import Collection
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, select, update

from worker.ledger.changes import Changes
from worker.ledger.charges import make_budgets, read_budgets
from worker.ledger.schema import (
    AnyBudgetKey,
    BudgetKey,
    BudgetKind,
    CleanText,
    LabelKey,
    Labels,
    batches,
    budget_keys,
    budgets,
    label_budgets,
)
from worker.ledger.statements import IDS, Query, columns_of
from worker.pricing import Prices, as_text


class _Batch(NamedTuple):
    id: str
    name: str
    max_cost: int | None


_BATCHES = Query(_Batch, select(*columns_of(batches, _Batch)).where(batches.c.id.in_(IDS)))
_TOLD, _TOLD_OF_LABEL = (
    update(table)
    .where(*[table.c[name] == bindparam(f"of_{name}", type_=CleanText()) for name in names])
    .values(told=bindparam("today"))
    for table, names in ((budgets, BudgetKey._fields), (label_budgets, LabelKey._fields))
)


class Purse:
    """What the budgets of one provider's round have left. They are locked by a separate statement, in key order."""

    def __init__(self, connection: Connection, provider: str, prices: Prices, today: str) -> None:
        self._connection = connection
        self._provider = provider
        self._prices = prices
        self._today = today
        self._used: dict[AnyBudgetKey, int] = {}
        self._told: dict[AnyBudgetKey, str | None] = {}
        self._caps: dict[AnyBudgetKey, int | None] = {}

    def open(self, batch_ids: Collection[str | None], labels: Collection[Labels] = (), *, locked: bool = True) -> None:
        """Read the budgets of generations in these batches (None: in no batch) and with these labels."""
        if not batch_ids:
            return
        keys = {key for batch_id in batch_ids for key in self._keys(batch_id)}
        keys |= {LabelKey(*label) for theirs in labels for label in theirs}
        if locked:
            make_budgets(self._connection, keys)
        self._used = dict.fromkeys(keys, 0)
        for budget in read_budgets(self._connection, keys, locked=locked):
            self._used[budget.key] = budget.used
            self._told[budget.key] = budget.told
        self._caps = caps_of(self._connection, self._prices, keys)

    def is_open(self, batch_id: str | None, labels: Labels = ()) -> bool:
        return all(key in self._used for key in self._keys(batch_id, labels))

    def room(self, batch_id: str | None, labels: Labels = ()) -> int | None:
        """Return the smallest remainder of the budgets; None: unlimited."""
        keys = self._keys(batch_id, labels)
        return min((left for key in keys if (left := self._left(key)) is not None), default=None)

    def full(self, batch_id: str | None, cost: int, labels: Labels = ()) -> AnyBudgetKey | None:
        """Return a budget without room for this cost, longest-lived first: a label's, then the batch's."""
        for key in reversed(self._keys(batch_id, labels) if cost else []):
            left = self._left(key)
            if left is not None and left < cost:
                return key
        return None

    def take(self, batch_id: str | None, cost: int, labels: Labels = ()) -> None:
        for key in self._keys(batch_id, labels) if cost else ():
            self._used[key] += cost

    def why(self, key: AnyBudgetKey, cost: int) -> str:
        text = self._prices.text
        whose = {
            BudgetKind.DAY: "the daily budget",
            BudgetKind.PROVIDER: f"the daily budget for {self._provider}",
            BudgetKind.BATCH: "the budget of its batch",
            BudgetKind.LABEL: f"the budget of {key.text}" if isinstance(key, LabelKey) else "",
        }
        used = f"{text(self._used[key])} of {text(self._caps[key] or 0)}"
        return f"{whose[key.kind]} has no room: {used} spent or reserved, this costs {text(cost)}"

    def tell(self, changes: Changes, key: AnyBudgetKey) -> None:
        """Report an exceeded budget, once per budget and day."""
        if self._told.get(key) == self._today:
            return
        of_key = {f"of_{name}": part for name, part in key._asdict().items()}
        amounts = {"cap": as_text(self._caps[key] or 0), "used": as_text(self._used[key])}
        facts = {"budget": key.kind, "provider": self._provider, "day": self._today, **amounts}
        if isinstance(key, LabelKey):
            self._connection.execute(_TOLD_OF_LABEL, {**of_key, "today": self._today})
            changes.event("budget.exceeded", batch_id=None, **facts, label=key.name, value=key.value)
        else:
            self._connection.execute(_TOLD, {**of_key, "today": self._today})
            changes.event("budget.exceeded", batch_id=key.batch_id or None, **facts)

    def _left(self, key: AnyBudgetKey) -> int | None:
        cap = self._caps.get(key)
        return None if cap is None else cap - self._used[key]

    def _keys(self, batch_id: str | None, labels: Labels = ()) -> list[AnyBudgetKey]:
        return budget_keys(self._today, self._provider, batch_id, labels)


def caps_of(connection: Connection, prices: Prices, keys: Collection[AnyBudgetKey]) -> dict[AnyBudgetKey, int | None]:
    """Return the cap of each budget, in millionths; None: unlimited."""
    caps = prices.caps
    batch_ids = [key.batch_id for key in keys if isinstance(key, BudgetKey) and key.batch_id]
    of_batch = {row.id: stricter(caps.of_batch(row.name), row.max_cost) for row in _BATCHES.each(connection, batch_ids)}
    found: dict[AnyBudgetKey, int | None] = {}
    for key in keys:
        if isinstance(key, LabelKey):
            found[key] = caps.of_label(key.name, key.value)
        elif key.kind is BudgetKind.BATCH:
            found[key] = of_batch.get(key.batch_id)
        else:
            found[key] = caps.providers.get(key.provider) if key.kind is BudgetKind.PROVIDER else caps.day
    return found


def stricter(cap: int | None, max_cost: int | None) -> int | None:
    """Return the lower of a batch's cap in the price file and its own cap; None if it has neither."""
    return min((one for one in (cap, max_cost) if one is not None), default=None)
