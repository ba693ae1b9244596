"""A batch is written down in several short transactions, and seen when the last of them is done"""

import sqlalchemy as sa
from alembic import op

from worker.ledger.schema import CleanText, UtcDateTime

revision = "0014"
down_revision = "0013"
oldest_code = "0014"


def upgrade() -> None:
    op.add_column("batches", sa.Column("unfinished", CleanText(), nullable=True))
    op.add_column("batches", sa.Column("unfinished_at", UtcDateTime(), nullable=True))
    for name, column, condition, unique in (
        ("uq_batches_unfinished", "unfinished", "unfinished IS NOT NULL", True),
        ("ix_batches_incomplete", "id", "completed_at IS NULL", False),
    ):
        where = sa.text(condition)
        op.create_index(name, "batches", [column], unique=unique, sqlite_where=where, postgresql_where=where)
