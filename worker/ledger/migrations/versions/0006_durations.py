"""How long generations usually take, and second looks at those that failed for lack of patience"""

import sqlalchemy as sa
from alembic import op

from worker.ledger.schema import CleanText, UtcDateTime

revision = "0006"
down_revision = "0005"
oldest_code = "0005"


def upgrade() -> None:
    op.create_table(
        "durations",
        sa.Column("provider", CleanText(), nullable=False),
        sa.Column("operation", CleanText(), nullable=False),
        sa.Column("speed", CleanText(), nullable=False),
        sa.Column("seen", sa.Integer(), nullable=False),
        sa.Column("mean", sa.Float(), nullable=False),
        sa.Column("variance", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("provider", "operation", "speed", name=op.f("pk_durations")),
    )
    op.create_table(
        "second_looks",
        sa.Column("attempt_id", CleanText(), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("looks", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["attempt_id"], ["attempts.id"], name=op.f("fk_second_looks_attempt_id")),
        sa.PrimaryKeyConstraint("attempt_id", name=op.f("pk_second_looks")),
    )
    op.create_index("ix_second_looks_due", "second_looks", ["at"])
