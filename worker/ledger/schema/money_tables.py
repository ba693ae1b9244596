"""The tables of money: amounts are whole millionths of the currency that the price file names."""

from enum import StrEnum
from typing import NamedTuple, TypeAlias

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, Table, text

from worker.generation import State
from worker.ledger.schema.partial_index import partial_index
from worker.ledger.schema.tables import FLOW, generations, metadata
from worker.ledger.schema.types import CleanText, Json, in_states


class ChargeState(StrEnum):
    """The state of an attempt's charge, which follows from the attempt's state (`charges.py`)."""

    RESERVED = "reserved"
    #: nobody knows whether it is paid for
    POSSIBLE = "possible"
    SPENT = "spent"
    #: it succeeded after it had been given back, so it may go beyond the cap
    LATE = "late"
    #: given back
    RELEASED = "released"


RESERVED, POSSIBLE, SPENT, LATE, RELEASED = ChargeState
#: what counts against a cap
COUNTED = (RESERVED, POSSIBLE, SPENT, LATE)

#: what waits because it would go beyond a cap
HELD = f"{in_states('state', [State.QUEUED])} AND held IS NOT NULL"
HELD_BY_LABEL = f"{HELD} AND held_label IS NOT NULL"

_g = generations.c
# What the budget of a label holds, which may be anywhere in its flow.
partial_index(
    "ix_generations_held_label",
    _g.provider,
    _g.held_label,
    _g.held_prices,
    _g.price,
    text(FLOW),
    _g.priority.desc(),
    _g.turn,
    _g.id,
    where=HELD_BY_LABEL,
)
partial_index(
    "ix_generations_held",
    _g.provider,
    _g.held,
    _g.held_prices,
    _g.price,
    text(FLOW),
    _g.priority.desc(),
    _g.turn,
    _g.id,
    # Not looked for: who counts what is held by each batch reads no generation for it.
    _g.batch_id,
    where=HELD,
)

charges = Table(
    "charges",
    metadata,
    Column("generation_id", CleanText, ForeignKey("generations.id"), primary_key=True),
    # That of the attempt which it is for; known before the attempt is, which is made when a worker claims it.
    Column("number", Integer, primary_key=True),
    Column("provider", CleanText, nullable=False),
    Column("operation", CleanText, nullable=False),
    Column("batch_id", CleanText),
    # Of the dispatch, in the time zone that was set then, such as 2026-11-21. All that becomes of it is booked there:
    # a change of the zone neither loses nor repeats it.
    Column("day", CleanText, nullable=False),
    Column("price", BigInteger, nullable=False),
    Column("state", CleanText, nullable=False),
    # The extras whose factor is not in the price file: the highest that is known was taken.
    Column("assumed", Json),
)
Index("ix_charges_day", charges.c.day)


#: pairs of name and value, in order of name
Labels: TypeAlias = tuple[tuple[str, str], ...]


class BudgetKind(StrEnum):
    DAY = "day"
    #: of one provider on one day
    PROVIDER = "provider"
    BATCH = "batch"
    #: of one label with one value, since ever (`label_budgets`)
    LABEL = "label"


class BudgetKey(NamedTuple):
    """The key of a row of `budgets`, in the order in which everybody locks them; empty where its kind has none."""

    kind: BudgetKind
    day: str = ""
    provider: str = ""
    batch_id: str = ""


class LabelKey(NamedTuple):
    """The key of a row of `label_budgets`; everybody locks them in this order, after `budgets`."""

    name: str
    value: str

    @property
    def kind(self) -> BudgetKind:
        return BudgetKind.LABEL

    @property
    def text(self) -> str:
        """As people give it; a name has no equals sign."""
        return f"{self.name}={self.value}"


#: of a row of either table
AnyBudgetKey: TypeAlias = BudgetKey | LabelKey


def budget_keys(day: str, provider: str, batch_id: str | None, labels: Labels = ()) -> list[AnyBudgetKey]:
    """The budgets that a charge counts in, those that last longest last."""
    keys: list[AnyBudgetKey] = [BudgetKey(BudgetKind.DAY, day), BudgetKey(BudgetKind.PROVIDER, day, provider)]
    if batch_id:
        keys.append(BudgetKey(BudgetKind.BATCH, batch_id=batch_id))
    return [*keys, *(LabelKey(*label) for label in labels)]


budgets = Table(
    "budgets",
    metadata,
    *(Column(name, CleanText, primary_key=True) for name in BudgetKey._fields),
    *(Column(state.value, BigInteger, nullable=False) for state in COUNTED),
    # The day on which somebody was told last that there is no room.
    Column("told", CleanText),
)
