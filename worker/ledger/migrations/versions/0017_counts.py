"""Generations are counted by triggers; lists of a batch or of a time, and who looks for assets, read no others"""

import sqlalchemy as sa
from alembic import op

from worker.ledger.migrations.building import create_index, drop_index
from worker.ledger.schema import CleanText

revision = "0017"
down_revision = "0016"
oldest_code = "0015"

_SQLITE = (
    """CREATE TRIGGER count_added AFTER INSERT ON generations
BEGIN
  INSERT INTO generation_counts (batch_id, state, number)
    SELECT '', NEW.state, 1 UNION SELECT NEW.batch_id, NEW.state, 1 WHERE NEW.batch_id IS NOT NULL
    ON CONFLICT (batch_id, state) DO UPDATE SET number = number + 1;
END""",
    """CREATE TRIGGER count_removed AFTER DELETE ON generations
BEGIN
  UPDATE generation_counts SET number = number - 1 WHERE batch_id IN ('', OLD.batch_id) AND state = OLD.state;
  DELETE FROM generation_counts WHERE batch_id IN ('', OLD.batch_id) AND state = OLD.state AND number = 0;
END""",
    """CREATE TRIGGER count_moved AFTER UPDATE OF state, batch_id ON generations
WHEN OLD.state IS NOT NEW.state OR OLD.batch_id IS NOT NEW.batch_id
BEGIN
  UPDATE generation_counts SET number = number - 1 WHERE batch_id IN ('', OLD.batch_id) AND state = OLD.state;
  DELETE FROM generation_counts WHERE batch_id IN ('', OLD.batch_id) AND state = OLD.state AND number = 0;
  INSERT INTO generation_counts (batch_id, state, number)
    SELECT '', NEW.state, 1 UNION SELECT NEW.batch_id, NEW.state, 1 WHERE NEW.batch_id IS NOT NULL
    ON CONFLICT (batch_id, state) DO UPDATE SET number = number + 1;
END""",
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
    """CREATE TRIGGER count_added AFTER INSERT ON generations REFERENCING NEW TABLE AS added
FOR EACH STATEMENT EXECUTE FUNCTION count_generations()""",
    """CREATE TRIGGER count_removed AFTER DELETE ON generations REFERENCING OLD TABLE AS removed
FOR EACH STATEMENT EXECUTE FUNCTION count_generations()""",
    """CREATE TRIGGER count_moved AFTER UPDATE ON generations REFERENCING NEW TABLE AS added OLD TABLE AS removed
FOR EACH STATEMENT EXECUTE FUNCTION count_generations()""",
)


def upgrade() -> None:
    # Before anything is locked: on PostgreSQL they are built beside this transaction, and wait for others to end.
    create_index("ix_generations_batch_state", "generations", ["batch_id", "state", "id"])
    drop_index("ix_generations_batch", "generations")
    create_index("ix_batches_name", "batches", ["name", "id"])
    finished = sa.text("state IN ('succeeded', 'expired', 'archived')")
    create_index(
        *("ix_generations_finished", "generations", ["finished_at"]), sqlite_where=finished, postgresql_where=finished
    )
    waiting = sa.text("state = 'waiting'")
    create_index(
        *("ix_assets_free", "assets", ["not_before", "deadline"]), sqlite_where=waiting, postgresql_where=waiting
    )
    op.create_table(
        "generation_counts",
        sa.Column("batch_id", CleanText(), nullable=False),
        sa.Column("state", CleanText(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("batch_id", "state", name=op.f("pk_generation_counts")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "generation_deltas",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("batch_id", CleanText(), nullable=True),
        sa.Column("state", CleanText(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_generation_deltas")),
    )
    # The triggers first: from then on nobody changes a state before this is committed, or they count it.
    for statement in _SQLITE if op.get_context().dialect.name == "sqlite" else _POSTGRESQL:
        op.execute(statement)
    op.execute("INSERT INTO generation_counts SELECT '', state, count(*) FROM generations GROUP BY state")
    op.execute(
        "INSERT INTO generation_counts SELECT batch_id, state, count(*) FROM generations "
        "WHERE batch_id IS NOT NULL GROUP BY batch_id, state"
    )
