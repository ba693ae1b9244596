"""Fairness by flows: each batch, and all single ones together, take turns"""

import sqlalchemy as sa
from alembic import op

from worker.ledger.schema import CleanText, UtcDateTime

WAITING = "state = 'queued' AND dispatched_at IS NULL AND held IS NULL"
HELD = "state = 'queued' AND held IS NOT NULL"
AWAKE = "asleep_since IS NULL"
FLOW = "coalesce(batch_id, '')"

revision = "0011"
down_revision = "0010"
oldest_code = "0011"


def upgrade() -> None:
    op.create_table(
        "flows",
        sa.Column("provider", CleanText(), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("flow", CleanText(), nullable=False),
        sa.Column("pinned", CleanText(), nullable=False),
        sa.Column("turn", sa.BigInteger(), nullable=False),
        sa.Column("asleep_since", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("provider", "priority", "flow", "pinned", name=op.f("pk_flows")),
    )
    # All that waits begins with the same turn, also what is held: dispatch lets that sleep.
    op.execute(
        f"INSERT INTO flows (provider, priority, flow, pinned, turn) SELECT DISTINCT provider, priority, {FLOW}, "  # noqa: S608
        "pinned, 0 FROM generations WHERE state = 'queued' AND dispatched_at IS NULL"
    )
    # The place within a flow; single ones go in the order in which they came, also those that are tried again.
    op.execute(
        "UPDATE generations SET turn = 0 "
        "WHERE batch_id IS NULL AND turn <> 0 AND state NOT IN ('succeeded', 'archived', 'expired')"
    )
    op.drop_index("ix_generations_waiting", "generations")
    op.drop_index("ix_generations_held", "generations")
    descending = sa.text("priority DESC")
    indexes: list[tuple[str, str, list[str | sa.TextClause], str]] = [
        ("flows", "awake", ["provider", "pinned", descending, "turn", "flow"], AWAKE),
        ("generations", "waiting", ["provider", "pinned", "priority", sa.text(FLOW), "turn", "id"], WAITING),
        ("generations", "held", ["provider", "held", sa.text(FLOW), descending, "turn", "id"], HELD),
    ]
    for table, name, columns, where in indexes:
        condition = sa.text(where)
        op.create_index(f"ix_{table}_{name}", table, columns, sqlite_where=condition, postgresql_where=condition)
