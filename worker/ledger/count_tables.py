"""How many generations are in which state: counted by triggers, so that no statement can forget it.

On PostgreSQL a transaction only adds rows of its own (`generation_deltas`), which the sweep folds into the counts: two
transactions never wait for the same count. SQLite has one writer, which changes the counts at once.
"""

from sqlalchemy import DDL, BigInteger, Column, Table, event

from worker.ledger.tables import RowId, generations, metadata
from worker.ledger.types import CleanText

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

_UPSERT = "ON CONFLICT (batch_id, state) DO UPDATE SET number = number + 1;"
_PLUS = f"""
  INSERT INTO generation_counts (batch_id, state, number) VALUES ('', NEW.state, 1) {_UPSERT}
  INSERT INTO generation_counts (batch_id, state, number)
    SELECT NEW.batch_id, NEW.state, 1 WHERE NEW.batch_id IS NOT NULL {_UPSERT}"""
_MINE = "batch_id IN ('', OLD.batch_id) AND state = OLD.state"
_MINUS = f"""
  UPDATE generation_counts SET number = number - 1 WHERE {_MINE};
  DELETE FROM generation_counts WHERE {_MINE} AND number = 0;"""
_IS_MOVED = "OLD.state IS NOT NEW.state OR OLD.batch_id IS NOT NEW.batch_id"
_SQLITE = (
    f"CREATE TRIGGER count_added AFTER INSERT ON generations BEGIN{_PLUS}\nEND",
    f"CREATE TRIGGER count_removed AFTER DELETE ON generations BEGIN{_MINUS}\nEND",
    f"CREATE TRIGGER count_moved AFTER UPDATE OF state, batch_id ON generations WHEN {_IS_MOVED} "
    f"BEGIN{_MINUS}{_PLUS}\nEND",
)
# Once for each statement, with all the rows that it has changed: many in few rows.
_POSTGRESQL = (
    """CREATE OR REPLACE FUNCTION count_generations() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'INSERT' THEN
    INSERT INTO generation_deltas (batch_id, state, number)
      SELECT batch_id, state, count(*) FROM added GROUP BY batch_id, state;
  ELSIF TG_OP = 'DELETE' THEN
    INSERT INTO generation_deltas (batch_id, state, number)
      SELECT batch_id, state, -count(*) FROM removed GROUP BY batch_id, state;
  ELSE
    INSERT INTO generation_deltas (batch_id, state, number)
      SELECT batch_id, state, sum(number) FROM (
        SELECT batch_id, state, 1 AS number FROM added UNION ALL SELECT batch_id, state, -1 FROM removed
      ) AS moved GROUP BY batch_id, state HAVING sum(number) <> 0;
  END IF;
  RETURN NULL;
END $$""",
    "CREATE TRIGGER count_added AFTER INSERT ON generations REFERENCING NEW TABLE AS added "
    "FOR EACH STATEMENT EXECUTE FUNCTION count_generations()",
    "CREATE TRIGGER count_removed AFTER DELETE ON generations REFERENCING OLD TABLE AS removed "
    "FOR EACH STATEMENT EXECUTE FUNCTION count_generations()",
    "CREATE TRIGGER count_moved AFTER UPDATE ON generations REFERENCING NEW TABLE AS added OLD TABLE AS removed "
    "FOR EACH STATEMENT EXECUTE FUNCTION count_generations()",
)
for _dialect, _statements in (("sqlite", _SQLITE), ("postgresql", _POSTGRESQL)):
    for _statement in _statements:
        event.listen(generations, "after_create", DDL(_statement).execute_if(dialect=_dialect))
