"""How many generations are in each state: counted by triggers, so that no statement can forget to.

Migration 0017 creates the triggers. On PostgreSQL a transaction only adds rows of its own (`generation_deltas`), which
the sweep folds into the counts, so two transactions never wait for the same count. SQLite has one writer, which changes
the counts directly. Tallies, which `/metrics` shows, are kept in the same way (decision 72).
"""

from enum import StrEnum

from sqlalchemy import BigInteger, Column, Table

from worker.ledger.schema.tables import RowId, generations, metadata
from worker.ledger.schema.types import CleanText

#: the `batch_id` of the counts of all generations, whether they belong to a batch or not
ALL = ""

generation_counts = Table(
    "generation_counts",
    metadata,
    Column("batch_id", CleanText, primary_key=True),
    Column("state", CleanText, primary_key=True),
    # Never zero: a batch passes through many states, and most of its generations end in one.
    Column("number", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

generation_deltas = Table(
    "generation_deltas",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("batch_id", CleanText),
    Column("state", CleanText, nullable=False),
    Column("number", BigInteger, nullable=False),
)


class Tally(StrEnum):
    """What is counted, and by which `value`."""

    #: current numbers by provider and state, counted by triggers that migration 0040 creates
    GENERATIONS = "generations"
    #: callbacks, by provider and verdict
    CALLBACKS = "callbacks"
    #: responses of receivers, by status
    ANSWERS = "answers"
    #: acknowledged callbacks, by the upper bound of the seconds taken; and the total in microseconds
    ACKNOWLEDGED = "acknowledged"
    ACKNOWLEDGED_MICROSECONDS = "acknowledged_microseconds"
    #: stored assets, by provider and the upper bound of their link's remaining share of its lifetime; and the total in
    #: millionths
    LINK_LIFE = "link_life"
    LINK_LIFE_MILLIONTHS = "link_life_millionths"
    #: work that a dead process left behind and another took over, by kind
    RECOVERIES = "recoveries"


# Tallies outlast what they count: callbacks are pruned.
tallies = Table(
    "tallies",
    metadata,
    # `Tally`
    Column("kind", CleanText, primary_key=True),
    # Empty if there is none.
    Column("provider", CleanText, primary_key=True),
    Column("value", CleanText, primary_key=True),
    Column("number", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

tally_deltas = Table(
    "tally_deltas",
    metadata,
    Column("id", RowId, primary_key=True),
    *(Column(name, CleanText, nullable=False) for name in ("kind", "provider", "value")),
    Column("number", BigInteger, nullable=False),
)

# When emptying all tables, empty these last: deleting a generation changes the counts.
for _table in (generation_counts, generation_deltas, tallies, tally_deltas):
    generations.add_is_dependent_on(_table)
