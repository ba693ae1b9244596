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
    #: unknown whether it was charged
    POSSIBLE = "possible"
    SPENT = "spent"
    #: it succeeded after its charge had been released, so it may exceed the cap
    LATE = "late"
    #: given back: no longer counted
    RELEASED = "released"


RESERVED, POSSIBLE, SPENT, LATE, RELEASED = ChargeState
#: what counts against a cap
COUNTED = (RESERVED, POSSIBLE, SPENT, LATE)

#: generations that wait because they would exceed a cap
HELD = f"{in_states('state', [State.QUEUED])} AND held IS NOT NULL"
HELD_BY_LABEL = f"{HELD} AND held_label IS NOT NULL"

_g = generations.c
# Generations held by a label's budget, which may be anywhere in their flow.
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
    # Not for searching: counting what each batch holds then reads no generation.
    _g.batch_id,
    where=HELD,
)

charges = Table(
    "charges",
    metadata,
    Column("generation_id", CleanText, ForeignKey("generations.id"), primary_key=True),
    # The attempt's number: known before the attempt itself, which is created when a worker claims the generation.
    Column("number", Integer, primary_key=True),
    Column("provider", CleanText, nullable=False),
    Column("operation", CleanText, nullable=False),
    Column("batch_id", CleanText),
    # The day of the dispatch, such as 2026-11-21, in the time zone set then. All later changes of the charge are booked
    # on it, so a change of the time zone neither loses nor repeats any.
    Column("day", CleanText, nullable=False),
    Column("price", BigInteger, nullable=False),
    Column("state", CleanText, nullable=False),
    # The extras whose factor is not in the price file: the highest known factor was assumed.
    Column("assumed", Json),
)
Index("ix_charges_day", charges.c.day)


#: pairs of name and value, sorted by name
Labels: TypeAlias = tuple[tuple[str, str], ...]


class BudgetKind(StrEnum):
    DAY = "day"
    #: one provider on one day
    PROVIDER = "provider"
    BATCH = "batch"
    #: one label with one value, over all time (`label_budgets`)
    LABEL = "label"


class BudgetKey(NamedTuple):
    """The key of a row of `budgets`; rows are locked in its order. Fields that do not apply to its kind are empty."""

    kind: BudgetKind
    day: str = ""
    provider: str = ""
    batch_id: str = ""


class LabelKey(NamedTuple):
    """The key of a row of `label_budgets`; rows are locked in this order, after `budgets`."""

    name: str
    value: str

    @property
    def kind(self) -> BudgetKind:
        return BudgetKind.LABEL

    @property
    def text(self) -> str:
        """The label as people write it; a name has no equals sign."""
        return f"{self.name}={self.value}"


#: the key of a row of either table
AnyBudgetKey: TypeAlias = BudgetKey | LabelKey


def budget_keys(day: str, provider: str, batch_id: str | None, labels: Labels = ()) -> list[AnyBudgetKey]:
    """The budgets that a charge counts against; the longest-lived come last."""
    keys: list[AnyBudgetKey] = [BudgetKey(BudgetKind.DAY, day), BudgetKey(BudgetKind.PROVIDER, day, provider)]
    if batch_id:
        keys.append(BudgetKey(BudgetKind.BATCH, batch_id=batch_id))
    return [*keys, *(LabelKey(*label) for label in labels)]


budgets = Table(
    "budgets",
    metadata,
    *(Column(name, CleanText, primary_key=True) for name in BudgetKey._fields),
    *(Column(state.value, BigInteger, nullable=False) for state in COUNTED),
    # The last day on which the budget was reported as exhausted.
    Column("told", CleanText),
)
