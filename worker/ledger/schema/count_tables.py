"""How many generations are in which state: counted by triggers, so that no statement can forget it.

They are made by migration 0017. On PostgreSQL a transaction only adds rows of its own (`generation_deltas`), which the
sweep folds into the counts: two transactions never wait for the same count. SQLite has one writer, which changes the
counts at once. Tallies, which `/metrics` shows, are kept in the same way (decision 72).
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
    # Never zero: a batch goes through many states, and most end in one.
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

    #: by provider and state, as they are now; by triggers, which migration 0040 makes
    GENERATIONS = "generations"
    #: callbacks, by provider and verdict
    CALLBACKS = "callbacks"
    #: answers of receivers, by status
    ANSWERS = "answers"
    #: callbacks that were acknowledged, by the bound of seconds that they took; and the microseconds of all of them
    ACKNOWLEDGED = "acknowledged"
    ACKNOWLEDGED_MICROSECONDS = "acknowledged_microseconds"
    #: stored assets, by provider and the bound of the share of their link's life that was left; and the millionths of
    #: all of them
    LINK_LIFE = "link_life"
    LINK_LIFE_MILLIONTHS = "link_life_millionths"
    #: what a dead process had left behind and another one took over, by what it was
    RECOVERIES = "recoveries"


# They outlast what they count: callbacks are pruned.
tallies = Table(
    "tallies",
    metadata,
    # `Tally`
    Column("kind", CleanText, primary_key=True),
    # Empty where it is of none.
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

# When emptying all tables, empty these last: a deleted generation is counted as well.
for _table in (generation_counts, generation_deltas, tallies, tally_deltas):
    generations.add_is_dependent_on(_table)
