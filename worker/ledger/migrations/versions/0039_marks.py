"""Marks of images, and an index of the latest decisions"""

import sqlalchemy as sa
from alembic import op

from worker.ledger.migrations.building import create_index
from worker.ledger.schema import CleanText, UtcDateTime

revision = "0039"
down_revision = "0038"
oldest_code = "0031"


def upgrade() -> None:
    op.create_table(
        "marks",
        sa.Column("generation_id", CleanText(), sa.ForeignKey("generations.id"), primary_key=True),
        sa.Column("index", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("verdict", CleanText(), nullable=False),
        sa.Column("by", CleanText(), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("previous", CleanText()),
    )
    where = sa.text("previous IS NOT NULL")
    op.create_index("ix_marks_by", "marks", ["by", "at"], sqlite_where=where, postgresql_where=where)
    where = sa.text("decided_at IS NOT NULL")
    create_index("ix_approvals_decided", "approvals", ["decided_at"], sqlite_where=where, postgresql_where=where)
