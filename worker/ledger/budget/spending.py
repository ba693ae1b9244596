"""What was spent, and how much of each budget is left. Nothing here changes anything; amounts are millionths."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, func, select, text

from worker.ledger.database import Part
from worker.ledger.schema import (
    COUNTED,
    HELD,
    INCOMPLETE,
    LATE,
    POSSIBLE,
    RESERVED,
    SPENT,
    batches,
    budgets,
    charges,
    events,
    generations,
)
from worker.ledger.statements import IDS, select_in
from worker.pricing import Prices

_c, _b, _g = charges.c, budgets.c, generations.c
_e = events.c
#: events among which is looked for the one that tells of a full budget
_LATELY = 20_000
_USED = sum((_b[state] for state in COUNTED[1:]), start=_b[COUNTED[0]])
_NAMED = select(batches.c.id, batches.c.name).where(batches.c.id.in_(IDS))


class By(StrEnum):
    DAY = "day"
    PROVIDER = "provider"
    BATCH = "batch"
    OPERATION = "operation"


@dataclass(frozen=True, slots=True)
class Spent:
    """Known: what is paid for, with the late charges among it. Possible: nobody knows yet. Reserved: under way."""

    #: a day, a provider, an operation, or the id of a batch (None: in no batch)
    key: str | None
    name: str
    known: int = 0
    late: int = 0
    possible: int = 0
    reserved: int = 0

    @property
    def total(self) -> int:
        return self.known + self.possible + self.reserved


@dataclass(frozen=True, slots=True)
class Standing:
    """How a budget stands. `waiting`: generations that it has no room for. It may be overdrawn by late charges."""

    budget: By
    key: str
    name: str
    cap: int
    used: int
    waiting: int

    @property
    def left(self) -> int:
        return max(0, self.cap - self.used)


@dataclass(frozen=True, slots=True)
class Assumed:
    """An amount for which the factors of these extras were assumed, as no price file gave them."""

    provider: str
    extras: tuple[str, ...]
    amount: int


class Budgets(Part):
    def totals(self, by: By, since: date) -> list[Spent]:
        """What was dispatched on that day or later; days in their order, else the most expensive first."""
        key = {By.DAY: _c.day, By.PROVIDER: _c.provider, By.BATCH: _c.batch_id, By.OPERATION: _c.operation}[by]
        query = (
            select(key.label("key"), _c.state, func.sum(_c.price).label("amount"))
            .where(_c.day >= since.isoformat(), _c.state.in_(COUNTED))
            .group_by(key, _c.state)
        )
        amounts: defaultdict[str | None, Counter[str]] = defaultdict(Counter)
        with self._database.read() as connection:
            for row in connection.execute(query):
                amounts[row.key][row.state] += int(row.amount)
            names = _names(connection, [key for key in amounts if key]) if by is By.BATCH else {}
        found = [_spent(one, names.get(one or "", one or "in no batch"), sums) for one, sums in amounts.items()]
        return sorted(found, key=lambda one: (0 if by is By.DAY else -one.total, one.key or ""))

    def assumed(self, since: date) -> list[Assumed]:
        """Of what was dispatched on that day or later; the largest first."""
        query = (
            select(_c.provider, _c.assumed, func.sum(_c.price).label("amount"))
            .where(_c.day >= since.isoformat(), _c.state.in_(COUNTED), _c.assumed.is_not(None))
            .group_by(_c.provider, _c.assumed)
        )
        with self._database.read() as connection:
            found = [Assumed(row.provider, tuple(row.assumed), int(row.amount)) for row in connection.execute(query)]
        return sorted(found, key=lambda one: (-one.amount, one.provider, one.extras))

    def standings(self, prices: Prices) -> list[Standing]:
        """Every cap that counts now: of today, of each provider today, and of the batches that are not complete."""
        today = prices.day_of(self._database.clock())
        caps = prices.caps
        with self._database.read() as connection:
            # By their names: what is found by how it begins is found by reading all, where a collation is in use.
            scopes_of_today = [today, *(f"{today} {name}" for name in caps.providers)]
            days = connection.execute(select(_b.scope, _USED).where(_b.scope.in_(scopes_of_today))).all()
            used = {row[0]: int(row[1]) for row in days}
            waiting = _waiting(connection)
            is_open = select(batches.c.id, batches.c.name, _USED).where(
                batches.c.id == _b.scope, text(f"batches.{INCOMPLETE}")
            )
            running = connection.execute(is_open).all() if caps.batch is not None or caps.batches else []
        found = []
        if caps.day is not None:
            found.append(Standing(By.DAY, today, "today", caps.day, used.get(today, 0), waiting["day"]))
        for name, cap in caps.providers.items():
            of_provider = used.get(f"{today} {name}", 0), waiting[f"provider {name}"]
            found.append(Standing(By.PROVIDER, name, f"{name} today", cap, *of_provider))
        for batch_id, name, amount in running:
            if (limit := caps.of_batch(name)) is not None:
                found.append(Standing(By.BATCH, batch_id, name, limit, int(amount), waiting[batch_id]))
        return found

    def full_since(self, cap: Standing) -> datetime | None:
        """When it was told last that it has no room; None if that was long ago."""
        newest = select(func.max(_e.id)).scalar_subquery()
        query = (
            select(_e.at, _e.batch_id, _e.payload)
            .where(_e.id > newest - _LATELY, _e.type == "budget.exceeded")
            .order_by(_e.id.desc())
        )
        with self._database.read() as connection:
            return next((row.at for row in connection.execute(query) if _is_of(cap, row)), None)


def _is_of(cap: Standing, event: Any) -> bool:
    if cap.budget is By.BATCH:
        return bool(event.batch_id == cap.key)
    facts = event.payload
    return facts.get("budget") == cap.budget and (cap.budget is By.DAY or facts.get("provider") == cap.key)


def _spent(key: str | None, name: str, sums: Counter[str]) -> Spent:
    return Spent(key, name, sums[SPENT] + sums[LATE], sums[LATE], sums[POSSIBLE], sums[RESERVED])


def _names(connection: Connection, batch_ids: Sequence[str]) -> Mapping[str, str]:
    return {row.id: row.name for row in select_in(connection, _NAMED, batch_ids)}


def _waiting(connection: Connection) -> Counter[str]:
    """How many are held, by what: `day`, `provider NAME`, or the id of a batch."""
    found: Counter[str] = Counter()
    query = select(_g.provider, _g.held, func.count()).where(text(HELD)).group_by(_g.provider, _g.held)
    for provider, held, count in connection.execute(query):
        kind = held.partition(" ")[0]
        found[f"provider {provider}" if kind == "provider" else kind] += count
    return found
