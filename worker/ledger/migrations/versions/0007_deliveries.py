"""Who is told of events, and what became of each delivery"""

import sqlalchemy as sa
from alembic import op

from worker.ledger.schema import CleanText, UtcDateTime

revision = "0007"
down_revision = "0006"
oldest_code = "0005"


def upgrade() -> None:
    op.create_table(
        "subscribers",
        sa.Column("name", CleanText(), nullable=False),
        sa.Column("cursor", sa.BigInteger(), nullable=False),
        sa.Column("left_at", UtcDateTime(), nullable=True),
        sa.Column("lease", CleanText(), nullable=True),
        sa.Column("lease_until", UtcDateTime(), nullable=True),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("not_before", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_subscribers")),
    )
    op.create_table(
        "deliveries",
        sa.Column("subscriber", CleanText(), nullable=False),
        sa.Column("event_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("state", CleanText(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("not_before", UtcDateTime(), nullable=True),
        sa.Column("delivered_at", UtcDateTime(), nullable=True),
        sa.Column("error", CleanText(), nullable=True),
        sa.ForeignKeyConstraint(["subscriber"], ["subscribers.name"], name=op.f("fk_deliveries_subscriber")),
        sa.ForeignKeyConstraint(["event_id"], ["events.id"], name=op.f("fk_deliveries_event_id")),
        sa.PrimaryKeyConstraint("subscriber", "event_id", name=op.f("pk_deliveries")),
    )
    for name, table, columns, where in (
        ("ix_subscribers_here", "subscribers", ["name"], "left_at IS NULL"),
        ("ix_deliveries_waiting", "deliveries", ["subscriber", "event_id"], "state = 'waiting'"),
        ("ix_deliveries_dead", "deliveries", ["subscriber", "event_id"], "state = 'dead'"),
    ):
        op.create_index(name, table, columns, sqlite_where=sa.text(where), postgresql_where=sa.text(where))
