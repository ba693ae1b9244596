"""What the budgets of one provider have left while its generations are dispatched."""

from collections.abc import Collection

from sqlalchemy import Connection, bindparam, select, update

from worker.ledger.changes import Changes
from worker.ledger.schema import COUNTED, CleanText, batches, budgets, scopes
from worker.ledger.statements import IDS, insert_ignoring, select_in
from worker.pricing import Prices, as_text

_b = budgets.c
_BUDGETS = select(budgets).where(_b.scope.in_(IDS)).order_by(_b.scope)
_LOCKED_BUDGETS = _BUDGETS.with_for_update()
_TOLD = update(budgets).where(_b.scope == bindparam("where", type_=CleanText())).values(told=bindparam("today"))
_NAMES = select(batches.c.id, batches.c.name).where(batches.c.id.in_(IDS))


class Purse:
    """What the budgets of one provider's round have left. Locked: with a statement of its own, in order of scope."""

    def __init__(self, connection: Connection, provider: str, prices: Prices, today: str) -> None:
        self._connection = connection
        self._provider = provider
        self._prices = prices
        self._today = today
        self._used: dict[str, int] = {}
        self._told: dict[str, str | None] = {}
        self._caps: dict[str, int | None] = {}

    def open(self, batch_ids: Collection[str | None], *, locked: bool = True) -> None:
        """Read the budgets that generations of these batches (None: of no batch) count in."""
        if not batch_ids:
            return
        keys = sorted({scope for batch_id in batch_ids for scope in self._scopes(batch_id)})
        if locked:
            nothing: dict[str, int] = dict.fromkeys(COUNTED, 0)
            missing = insert_ignoring(self._connection, budgets)
            self._connection.execute(missing, [{"scope": key, **nothing} for key in keys])
        self._used = dict.fromkeys(keys, 0)
        for row in self._connection.execute(_LOCKED_BUDGETS if locked else _BUDGETS, {"ids": keys}):
            self._used[row.scope] = sum(row._mapping[state] for state in COUNTED)  # noqa: SLF001  SQLAlchemy's API
            self._told[row.scope] = row.told
        caps = self._prices.caps
        days = {self._today: caps.day, f"{self._today} {self._provider}": caps.providers.get(self._provider)}
        ids = [batch_id for batch_id in batch_ids if batch_id] if caps.batch is not None or caps.batches else []
        names = select_in(self._connection, _NAMES, ids)
        self._caps = days | {row.id: caps.of_batch(row.name) for row in names}

    def is_open(self, batch_id: str | None) -> bool:
        return all(scope in self._used for scope in self._scopes(batch_id))

    def room(self, batch_id: str | None) -> int | None:
        """The least that is left in one of its budgets; None: as much as you like."""
        return min((left for scope in self._scopes(batch_id) if (left := self._left(scope)) is not None), default=None)

    def full(self, batch_id: str | None, cost: int) -> str | None:
        """The budget that has no room for this; that of the batch first, since it lasts longest."""
        for scope in reversed(self._scopes(batch_id) if cost else []):
            left = self._left(scope)
            if left is not None and left < cost:
                return scope
        return None

    def take(self, batch_id: str | None, cost: int) -> None:
        for scope in self._scopes(batch_id) if cost else ():
            self._used[scope] += cost

    def mark(self, scope: str, cost: int) -> str:
        return f"{self._kind(scope)} {self._prices.digest} {cost:018}"

    def why(self, scope: str, cost: int) -> str:
        text = self._prices.text
        whose = {"day": "of today", "provider": f"of today at {self._provider}"}.get(self._kind(scope), "of its batch")
        used, cap = text(self._used[scope]), text(self._caps[scope] or 0)
        return f"the budget {whose} has no room: {used} of {cap} are spent or reserved, and this costs {text(cost)}"

    def tell(self, changes: Changes, scope: str) -> None:
        """Once per budget and day."""
        if self._told.get(scope) == self._today:
            return
        self._connection.execute(_TOLD, {"where": scope, "today": self._today})
        kind = self._kind(scope)
        amounts = {"cap": as_text(self._caps[scope] or 0), "used": as_text(self._used[scope])}
        batch_id = scope if kind == scope else None
        facts = {"budget": "batch" if batch_id else kind, "provider": self._provider, "day": self._today, **amounts}
        changes.event("budget.exceeded", batch_id=batch_id, **facts)

    def _left(self, scope: str) -> int | None:
        cap = self._caps.get(scope)
        return None if cap is None else cap - self._used[scope]

    def _scopes(self, batch_id: str | None) -> list[str]:
        return scopes(self._today, self._provider, batch_id)

    def _kind(self, scope: str) -> str:
        """`day`, `provider`, or the batch itself: tomorrow's budget is another row, but holds the same."""
        return {self._today: "day", f"{self._today} {self._provider}": "provider"}.get(scope, scope)
