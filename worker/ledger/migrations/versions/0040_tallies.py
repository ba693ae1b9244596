"""What `/metrics` shows is counted: generations by provider, callbacks, acknowledgements, links, recoveries"""

import sqlalchemy as sa
from alembic import op

from worker.ledger.schema import CleanText, UtcDateTime

revision = "0040"
down_revision = "0039"
# Older code counts no callbacks, and its clock folds nothing of this: who reads adds up the more.
oldest_code = "0031"

_ADD = """INSERT INTO tallies (kind, provider, value, number) VALUES ('generations', NEW.provider, NEW.state, 1)
    ON CONFLICT (kind, provider, value) DO UPDATE SET number = number + 1"""
_REMOVE = """UPDATE tallies SET number = number - 1
    WHERE kind = 'generations' AND provider = OLD.provider AND value = OLD.state"""
_SQLITE = (
    f"CREATE TRIGGER tally_added AFTER INSERT ON generations BEGIN {_ADD}; END",
    f"CREATE TRIGGER tally_removed AFTER DELETE ON generations BEGIN {_REMOVE}; END",
    f"""CREATE TRIGGER tally_moved AFTER UPDATE OF state, provider ON generations
WHEN OLD.state IS NOT NEW.state OR OLD.provider IS NOT NEW.provider
BEGIN {_REMOVE}; {_ADD}; END""",
)
# Once for each statement, with all the rows that it has changed: many in few rows.
_POSTGRESQL = (
    """CREATE FUNCTION tally_generations() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'INSERT' THEN
    INSERT INTO tally_deltas (kind, provider, value, number)
      SELECT 'generations', provider, state, count(*) FROM added GROUP BY provider, state;
  ELSIF TG_OP = 'DELETE' THEN
    INSERT INTO tally_deltas (kind, provider, value, number)
      SELECT 'generations', provider, state, -count(*) FROM removed GROUP BY provider, state;
  ELSE
    INSERT INTO tally_deltas (kind, provider, value, number)
      SELECT 'generations', provider, state, sum(number) FROM (
        SELECT provider, state, 1 AS number FROM added UNION ALL SELECT provider, state, -1 FROM removed
      ) AS moved GROUP BY provider, state HAVING sum(number) <> 0;
  END IF;
  RETURN NULL;
END $$""",
    """CREATE TRIGGER tally_added AFTER INSERT ON generations REFERENCING NEW TABLE AS added
FOR EACH STATEMENT EXECUTE FUNCTION tally_generations()""",
    """CREATE TRIGGER tally_removed AFTER DELETE ON generations REFERENCING OLD TABLE AS removed
FOR EACH STATEMENT EXECUTE FUNCTION tally_generations()""",
    """CREATE TRIGGER tally_moved AFTER UPDATE ON generations REFERENCING NEW TABLE AS added OLD TABLE AS removed
FOR EACH STATEMENT EXECUTE FUNCTION tally_generations()""",
)


def upgrade() -> None:
    op.create_table(
        "tallies",
        *(sa.Column(name, CleanText(), primary_key=True) for name in ("kind", "provider", "value")),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "tally_deltas",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True),
        *(sa.Column(name, CleanText(), nullable=False) for name in ("kind", "provider", "value")),
        sa.Column("number", sa.BigInteger(), nullable=False),
    )
    op.add_column("prunes", sa.Column("ended_at", UtcDateTime()))
    # The triggers first: from then on nobody changes a state before this is committed, or they count it.
    for statement in _SQLITE if op.get_context().dialect.name == "sqlite" else _POSTGRESQL:
        op.execute(statement)
    op.execute(
        "INSERT INTO tallies SELECT 'generations', provider, state, count(*) FROM generations GROUP BY provider, state"
    )
