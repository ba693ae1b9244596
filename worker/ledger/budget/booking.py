"""Charges for dispatched generations, and for paid submissions that a restored ledger has lost."""

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple, Protocol

from sqlalchemy import Connection, bindparam, select, update

from worker.ledger.budget.tiers import TIER, tier_of_row
from worker.ledger.changes import Changes
from worker.ledger.charges import add, make_budgets
from worker.ledger.labels import A_LABEL, pairs_of
from worker.ledger.schema import (
    RELEASED,
    RESERVED,
    AnyBudgetKey,
    ChargeState,
    CleanText,
    Labels,
    attempts,
    budget_keys,
    charges,
    generations,
)
from worker.ledger.statements import IDS, Query, insert_into
from worker.pricing import Prices, Quote


class Priced(Protocol):
    """A row of `generations`. `price`: of its last attempt, if that had one."""

    @property
    def price(self) -> int | None: ...


class Charged(Protocol):
    """A row of `generations` that is charged."""

    @property
    def id(self) -> str: ...
    @property
    def batch_id(self) -> str | None: ...
    @property
    def operation(self) -> str: ...


class Going(Charged, Protocol):
    """A row of `generations` that is dispatched."""

    @property
    def tries(self) -> int: ...


class _Sent(NamedTuple):
    id: str
    provider: str
    batch_id: str | None
    number: int
    sent_at: datetime
    operation: str
    speed: str | None
    version: str | None
    extras: Sequence[str] | None
    prompt: str | None
    options: Mapping[str, object] | None
    a_label: str | None


_a, _g = attempts.c, generations.c
_SENT = Query(
    _Sent,
    select(_g.id, _g.provider, _g.batch_id, _a.number, _a.sent_at, *TIER, A_LABEL)
    .join(attempts, (_a.generation_id == _g.id) & (_a.number == _g.tries))
    .where(_g.id.in_(IDS)),
)
_PRICED = update(generations).where(_g.id == bindparam("of", type_=CleanText())).values(price=bindparam("at"))


def book_sent(changes: Changes, prices: Prices, generation_ids: Collection[str]) -> None:
    """Book the last attempts of these on the day on which they were sent, whether or not a cap has room.

    An existing reservation stays as it is. `Changes.flush` settles these charges with the others.
    """
    changes.write()
    priced = [
        (row, quote)
        for row in _SENT.each(changes.connection, sorted(generation_ids))
        if (quote := prices.quote(row.provider, row.operation, tier_of_row(row))).amount
    ]
    if not priced:
        return
    rows = [
        # Not counted yet: settling moves the charge to the state of its attempt, and updates its budgets.
        charge_row(row, quote, number=row.number, provider=row.provider, day=prices.day_of(row.sent_at), state=RELEASED)
        for row, quote in priced
    ]
    labels = pairs_of(changes.connection, [row.id for row, _ in priced if row.a_label is not None])
    keys = {
        key
        for row, _ in priced
        for key in budget_keys(prices.day_of(row.sent_at), row.provider, row.batch_id, labels.get(row.id, ()))
    }
    insert = insert_into(changes.connection, charges)
    # A charge exists if the generation was dispatched before the backup, was recalled unclaimed, and was sent later.
    again = {name: insert.excluded[name] for name in ("provider", "day", "price", "assumed")}
    instead = insert.on_conflict_do_update(
        index_elements=["generation_id", "number"], set_=again, where=charges.c.state == RELEASED
    )
    changes.connection.execute(instead, rows)
    make_budgets(changes.connection, keys)
    changes.connection.execute(_PRICED, [{"of": row.id, "at": quote.amount} for row, quote in priced])
    changes.has_price(row.id for row, _ in priced)


def charge_row(
    row: Charged, quote: Quote, *, number: int, provider: str, day: str, state: ChargeState
) -> dict[str, object]:
    """Return the row of `charges` for one attempt."""
    return {
        "generation_id": row.id,
        "number": number,
        "provider": provider,
        "operation": row.operation,
        "batch_id": row.batch_id,
        "day": day,
        "price": quote.amount,
        "assumed": quote.assumed or None,
        "state": state,
    }


def is_counted(row: Priced, cost: int) -> bool:
    """Return whether a row costs something, or did before: a charge of an earlier attempt may still need settling."""
    return cost > 0 or row.price is not None


def book(
    connection: Connection,
    provider: str,
    today: str,
    priced: Sequence[tuple[Going, Quote]],
    labels: Mapping[str, Labels],
) -> None:
    """Reserve the price of these generations in their budgets. `labels`: by id; only of generations that have any."""
    if not priced:
        return
    rows = [
        charge_row(row, quote, number=row.tries + 1, provider=provider, day=today, state=RESERVED)
        for row, quote in priced
    ]
    insert = insert_into(connection, charges)
    # A generation that was recalled unclaimed has a released charge: reserve it again, perhaps at another provider.
    again = {name: insert.excluded[name] for name in ("provider", "day", "price", "assumed", "state")}
    connection.execute(insert.on_conflict_do_update(index_elements=["generation_id", "number"], set_=again), rows)
    deltas: defaultdict[AnyBudgetKey, Counter[str]] = defaultdict(Counter)
    for row, quote in priced:
        for key in budget_keys(today, provider, row.batch_id, labels.get(row.id, ())):
            deltas[key][RESERVED] += quote.amount
    add(connection, deltas)
