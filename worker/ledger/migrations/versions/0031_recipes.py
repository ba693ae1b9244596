"""Recipes, and the decisions that their steps wait for"""

import sqlalchemy as sa
from alembic import op

from worker.ledger.schema import CleanText, Json, UtcDateTime

revision = "0031"
down_revision = "0030"
oldest_code = "0031"

ASKED = "state = 'asked'"
UNSENT = "state = 'asked' AND task IS NOT NULL AND sent_at IS NULL"


def upgrade() -> None:
    op.create_table(
        "recipes",
        sa.Column("sha256", CleanText(), primary_key=True),
        sa.Column("name", CleanText(), nullable=False),
        sa.Column("document", Json(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
    )
    op.create_table(
        "approvals",
        sa.Column("id", CleanText(), primary_key=True),
        sa.Column("generation_id", CleanText(), sa.ForeignKey("generations.id"), nullable=False),
        sa.Column("batch_id", CleanText()),
        sa.Column("step", CleanText(), nullable=False),
        sa.Column("state", CleanText(), nullable=False),
        sa.Column("task", CleanText()),
        sa.Column("queue", CleanText()),
        sa.Column("sent_at", UtcDateTime()),
        sa.Column("images", Json(), nullable=False),
        sa.Column("picked", Json()),
        sa.Column("asked_at", UtcDateTime(), nullable=False),
        sa.Column("expires_at", UtcDateTime(), nullable=False),
        sa.Column("decided_at", UtcDateTime()),
        sa.Column("decided_by", CleanText()),
        sa.Column("why", CleanText()),
        sa.UniqueConstraint("generation_id", "step"),
    )
    for name, column, condition in (
        ("ix_approvals_asked", "expires_at", ASKED),
        ("ix_approvals_pending", "id", ASKED),
        ("ix_approvals_batch", "batch_id", ASKED),
        ("ix_approvals_unsent", "id", UNSENT),
    ):
        where = sa.text(condition)
        op.create_index(name, "approvals", [column], sqlite_where=where, postgresql_where=where)
    op.add_column("generations", sa.Column("recipe", CleanText()))
    op.add_column("generations", sa.Column("recipe_name", CleanText()))
    op.add_column("generations", sa.Column("step", CleanText()))
    op.add_column("generations", sa.Column("followed_failure_at", UtcDateTime()))
    op.add_column("generations", sa.Column("followed_success_at", UtcDateTime()))
    op.add_column("generations", sa.Column("followed_archive_at", UtcDateTime()))
