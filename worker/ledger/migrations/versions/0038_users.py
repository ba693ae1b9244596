"""People whom the console lets in, and their sessions"""

import sqlalchemy as sa
from alembic import op

from worker.ledger.schema import CleanText, UtcDateTime

revision = "0038"
down_revision = "0037"
oldest_code = "0031"

PRESENT = "removed_at IS NULL"


def upgrade() -> None:
    op.create_table(
        "users",
        sa.Column("id", CleanText(), primary_key=True),
        sa.Column("name", CleanText(), nullable=False),
        sa.Column("role", CleanText(), nullable=False),
        sa.Column("password_hash", CleanText()),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("created_by", CleanText(), nullable=False),
        sa.Column("logged_in_at", UtcDateTime()),
        sa.Column("removed_at", UtcDateTime()),
    )
    where = sa.text(PRESENT)
    op.create_index("uq_users_name", "users", ["name"], unique=True, sqlite_where=where, postgresql_where=where)
    op.create_table(
        "sessions",
        sa.Column("sha256", CleanText(), primary_key=True),
        sa.Column("user_id", CleanText(), sa.ForeignKey("users.id"), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("expires_at", UtcDateTime(), nullable=False),
        sa.Column("seen_at", UtcDateTime(), nullable=False),
        sa.Column("ended_at", UtcDateTime()),
    )
    op.create_index("ix_sessions_user", "sessions", ["user_id"])
    op.create_index("ix_sessions_expires", "sessions", ["expires_at"])
