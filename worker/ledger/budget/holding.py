"""Finds the budget that has no room for queued work, even before dispatch has considered it."""

from collections.abc import Sequence
from typing import NamedTuple

from worker.ledger.budget.purse import caps_of
from worker.ledger.charges import read_budgets
from worker.ledger.database import Part
from worker.ledger.schema import AnyBudgetKey, Labels, budget_keys
from worker.pricing import Prices


class Asked(NamedTuple):
    """What a generation needs from its budgets. `amount`: in millionths."""

    provider: str
    batch_id: str | None
    labels: Labels
    amount: int


class Holding(Part):
    def full(self, prices: Prices, asked: Sequence[Asked]) -> list[AnyBudgetKey | None]:
        """Return, for each, a budget without room for it after those before it in the list; None if all have room.

        Only what is spent or reserved now counts: work that was queued earlier may still take the room.
        """
        today = prices.day_of(self._database.clock())
        keys_of = [budget_keys(today, one.provider, one.batch_id, one.labels) for one in asked]
        keys = {key for keys in keys_of for key in keys}
        with self._database.read() as connection:
            caps = {key: cap for key, cap in caps_of(connection, prices, keys).items() if cap is not None}
            left = caps | {one.key: caps[one.key] - one.used for one in read_budgets(connection, caps, locked=False)}
        found: list[AnyBudgetKey | None] = []
        for one, mine in zip(asked, keys_of, strict=True):
            capped = [key for key in reversed(mine) if key in left] if one.amount else []
            full = next((key for key in capped if left[key] < one.amount), None)
            for key in capped if full is None else ():
                left[key] -= one.amount
            found.append(full)
        return found
