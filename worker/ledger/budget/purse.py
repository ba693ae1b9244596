"""Remaining budgets of one provider while its generations are dispatched."""

from collections.abc import Collection
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, select, update

from worker.ledger.changes import Changes
from worker.ledger.charges import read_budgets
from worker.ledger.schema import COUNTED, BudgetKey, BudgetKind, CleanText, batches, budget_keys, budgets
from worker.ledger.statements import IDS, Query, columns_of, insert_ignoring
from worker.pricing import Prices, as_text


class _Batch(NamedTuple):
    id: str
    name: str
    max_cost: int | None


_b = budgets.c
_BATCHES = Query(_Batch, select(*columns_of(batches, _Batch)).where(batches.c.id.in_(IDS)))
_TOLD = (
    update(budgets)
    .where(*[_b[name] == bindparam(f"of_{name}", type_=CleanText()) for name in BudgetKey._fields])
    .values(told=bindparam("today"))
)


class Purse:
    """What the budgets of one provider's round have left. Locked: with a statement of its own, in the order of keys."""

    def __init__(self, connection: Connection, provider: str, prices: Prices, today: str) -> None:
        self._connection = connection
        self._provider = provider
        self._prices = prices
        self._today = today
        self._used: dict[BudgetKey, int] = {}
        self._told: dict[BudgetKey, str | None] = {}
        self._caps: dict[BudgetKey, int | None] = {}

    def open(self, batch_ids: Collection[str | None], *, locked: bool = True) -> None:
        """Read the budgets that generations of these batches (None: of no batch) count in."""
        if not batch_ids:
            return
        keys = sorted({key for batch_id in batch_ids for key in self._keys(batch_id)})
        if locked:
            nothing: dict[str, int] = dict.fromkeys(COUNTED, 0)
            missing = insert_ignoring(self._connection, budgets)
            self._connection.execute(missing, [{**key._asdict(), **nothing} for key in keys])
        self._used = dict.fromkeys(keys, 0)
        for row in read_budgets(self._connection, keys, locked=locked):
            self._used[row.key] = row.used
            self._told[row.key] = row.told
        caps = self._prices.caps
        day, of_provider = self._keys(None)
        rows = _BATCHES.each(self._connection, [batch_id for batch_id in batch_ids if batch_id])
        self._caps = {
            day: caps.day,
            of_provider: caps.providers.get(self._provider),
            **{
                BudgetKey(BudgetKind.BATCH, batch_id=row.id): stricter(caps.of_batch(row.name), row.max_cost)
                for row in rows
            },
        }

    def is_open(self, batch_id: str | None) -> bool:
        return all(key in self._used for key in self._keys(batch_id))

    def room(self, batch_id: str | None) -> int | None:
        """The smallest remainder of its budgets; None: unlimited."""
        return min((left for key in self._keys(batch_id) if (left := self._left(key)) is not None), default=None)

    def full(self, batch_id: str | None, cost: int) -> BudgetKey | None:
        """The budget that has no room for this; the batch's first, since it lasts longest."""
        for key in reversed(self._keys(batch_id) if cost else []):
            left = self._left(key)
            if left is not None and left < cost:
                return key
        return None

    def take(self, batch_id: str | None, cost: int) -> None:
        for key in self._keys(batch_id) if cost else ():
            self._used[key] += cost

    def why(self, key: BudgetKey, cost: int) -> str:
        text = self._prices.text
        whose = {
            BudgetKind.DAY: "the daily budget",
            BudgetKind.PROVIDER: f"the daily budget for {self._provider}",
            BudgetKind.BATCH: "the budget of its batch",
        }
        used = f"{text(self._used[key])} of {text(self._caps[key] or 0)}"
        return f"{whose[key.kind]} has no room: {used} spent or reserved, this costs {text(cost)}"

    def tell(self, changes: Changes, key: BudgetKey) -> None:
        """Once per budget and day."""
        if self._told.get(key) == self._today:
            return
        of_key = {f"of_{name}": part for name, part in key._asdict().items()}
        self._connection.execute(_TOLD, {**of_key, "today": self._today})
        amounts = {"cap": as_text(self._caps[key] or 0), "used": as_text(self._used[key])}
        facts = {"budget": key.kind, "provider": self._provider, "day": self._today, **amounts}
        changes.event("budget.exceeded", batch_id=key.batch_id or None, **facts)

    def _left(self, key: BudgetKey) -> int | None:
        cap = self._caps.get(key)
        return None if cap is None else cap - self._used[key]

    def _keys(self, batch_id: str | None) -> list[BudgetKey]:
        return budget_keys(self._today, self._provider, batch_id)


def stricter(cap: int | None, max_cost: int | None) -> int | None:
    """The cap that the price file gives a batch and its own, together."""
    return min((one for one in (cap, max_cost) if one is not None), default=None)
