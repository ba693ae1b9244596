"""Prices, budgets, and what is held for want of room in one"""

import sqlalchemy as sa
from alembic import op

from worker.ledger.schema import CleanText

WAITING = "state = 'queued' AND dispatched_at IS NULL AND held IS NULL"
HELD = "state = 'queued' AND held IS NOT NULL"

revision = "0005"
down_revision = "0004"
oldest_code = "0005"


def upgrade() -> None:
    op.add_column("generations", sa.Column("speed", CleanText(), nullable=True))
    op.add_column("generations", sa.Column("version", CleanText(), nullable=True))
    op.add_column("generations", sa.Column("held", CleanText(), nullable=True))
    op.add_column("generations", sa.Column("price", sa.BigInteger(), nullable=True))
    op.add_column("provider_limits", sa.Column("prices", CleanText(), nullable=True))
    op.drop_index("ix_generations_waiting", "generations")
    in_line: list[str | sa.TextClause] = [sa.text("priority DESC"), "turn", "id"]
    for name, columns, where in (
        ("ix_generations_waiting", ["provider", *in_line], WAITING),
        ("ix_generations_held", ["provider", "held", *in_line], HELD),
    ):
        op.create_index(name, "generations", columns, sqlite_where=sa.text(where), postgresql_where=sa.text(where))
    op.create_table(
        "charges",
        sa.Column("generation_id", CleanText(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("provider", CleanText(), nullable=False),
        sa.Column("operation", CleanText(), nullable=False),
        sa.Column("batch_id", CleanText(), nullable=True),
        sa.Column("day", CleanText(), nullable=False),
        sa.Column("price", sa.BigInteger(), nullable=False),
        sa.Column("state", CleanText(), nullable=False),
        sa.ForeignKeyConstraint(["generation_id"], ["generations.id"], name=op.f("fk_charges_generation_id")),
        sa.PrimaryKeyConstraint("generation_id", "number", name=op.f("pk_charges")),
    )
    op.create_index("ix_charges_day", "charges", ["day"])
    op.create_table(
        "budgets",
        sa.Column("scope", CleanText(), nullable=False),
        sa.Column("reserved", sa.BigInteger(), nullable=False),
        sa.Column("possible", sa.BigInteger(), nullable=False),
        sa.Column("spent", sa.BigInteger(), nullable=False),
        sa.Column("late", sa.BigInteger(), nullable=False),
        sa.Column("told", CleanText(), nullable=True),
        sa.PrimaryKeyConstraint("scope", name=op.f("pk_budgets")),
    )
