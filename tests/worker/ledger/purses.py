"""What tests of money ask the ledger. `totals` holds the budgets against the charges each time."""

from collections import Counter
from typing import Any

from sqlalchemy import select

from tests.factories import resubmit, state_of
from worker.generation import State
from worker.ledger import Ledger
from worker.ledger.schema import (
    COUNTED,
    BudgetKey,
    LabelKey,
    budget_keys,
    budgets,
    charges,
    generations,
    label_budgets,
    labels,
)
from worker.ledger.schema import events as table_of_events
from worker.ledger.submission import Claim
from worker.pricing.prices import Caps, Prices, Rule

#: a millionth for everything
EVERY = (Rule(price=1),)
NO_CAP = Prices(rules=EVERY)
THREE_A_DAY = Prices(rules=EVERY, caps=Caps(day=3))


def totals(ledger: Ledger) -> dict[str, int]:
    """State of charges → amount, after each budget was seen to be the sum of its charges."""
    with ledger.database.read() as connection:
        booked = connection.execute(select(charges)).all()
        budgeted: dict[Any, Any] = {
            BudgetKey(row.kind, row.day, row.provider, row.batch_id): row for row in connection.execute(select(budgets))
        }
        budgeted |= {LabelKey(row.name, row.value): row for row in connection.execute(select(label_budgets))}
        of: dict[str, list[tuple[str, str]]] = {}
        for row in connection.execute(select(labels)):
            of.setdefault(row.generation_id, []).append((row.name, row.value))
    sums: dict[Any, Counter[str]] = {key: Counter() for key in budgeted}
    for row in booked:
        for key in budget_keys(row.day, row.provider, row.batch_id, tuple(of.get(row.generation_id, ()))):
            sums[key][row.state] += row.price
    for key, row in budgeted.items():
        assert {name: row._mapping[name] for name in COUNTED} == {name: sums[key][name] for name in COUNTED}, key
    found: Counter[str] = Counter()
    for row in booked:
        found[row.state] += row.price
    return dict(found)


def held(ledger: Ledger) -> list[str]:
    with ledger.database.read() as connection:
        query = select(generations.c.id).where(generations.c.held.is_not(None), generations.c.state == "queued")
        return list(connection.execute(query.order_by(generations.c.id)).scalars())


def events(ledger: Ledger) -> list[Any]:
    with ledger.database.read() as connection:
        return list(connection.execute(select(table_of_events).order_by(table_of_events.c.id)))


def submit_again(ledger: Ledger, claim: Claim) -> None:
    """As a person does, whether it has failed or nobody knows."""
    if state_of(ledger, claim) is State.UNCONFIRMED:
        resubmit(ledger, claim)
    else:
        ledger.generations.retry([claim.generation.id])
