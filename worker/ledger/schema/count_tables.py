"""How many generations are in which state: counted by triggers, so that no statement can forget it.

They are made by migration 0017. On PostgreSQL a transaction only adds rows of its own (`generation_deltas`), which the
sweep folds into the counts: two transactions never wait for the same count. SQLite has one writer, which changes the
counts at once.
"""

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

# Whoever empties all tables must empty these last: a deleted generation is counted as well.
for _table in (generation_counts, generation_deltas):
    generations.add_is_dependent_on(_table)
