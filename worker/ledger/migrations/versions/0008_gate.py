"""The gate that closes when the ledger was restored from a backup"""

import sqlalchemy as sa
from alembic import op

from worker.ledger.schema import CleanText, UtcDateTime

revision = "0008"
down_revision = "0007"
oldest_code = "0008"


def upgrade() -> None:
    op.create_table(
        "gate",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("ledger", CleanText(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("tried_at", UtcDateTime(), nullable=True),
        sa.Column("compared_at", UtcDateTime(), nullable=True),
        sa.Column("closed_at", UtcDateTime(), nullable=True),
        sa.Column("reason", CleanText(), nullable=True),
        sa.Column("opened_at", UtcDateTime(), nullable=True),
        sa.Column("opened_by", CleanText(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_gate")),
    )
