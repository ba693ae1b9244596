"""Tokens of the API, idempotency keys, and the log of actions"""

import sqlalchemy as sa
from alembic import op

from worker.ledger.schema import CleanText, Json, UtcDateTime

revision = "0030"
down_revision = "0029"
oldest_code = "0024"

VALID = "revoked_at IS NULL"


def upgrade() -> None:
    op.create_table(
        "api_tokens",
        sa.Column("id", CleanText(), primary_key=True),
        sa.Column("name", CleanText(), nullable=False),
        sa.Column("sha256", CleanText(), nullable=False, unique=True),
        sa.Column("hint", CleanText(), nullable=False),
        sa.Column("scopes", Json(), nullable=False),
        sa.Column("is_test", sa.Boolean(), nullable=False),
        sa.Column("rate", CleanText()),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("created_by", CleanText(), nullable=False),
        sa.Column("expires_at", UtcDateTime()),
        sa.Column("used_at", UtcDateTime()),
        sa.Column("revoked_at", UtcDateTime()),
    )
    where = sa.text(VALID)
    op.create_index(
        "uq_api_tokens_name", "api_tokens", ["name"], unique=True, sqlite_where=where, postgresql_where=where
    )
    op.create_table(
        "idempotency_keys",
        sa.Column("owner", CleanText(), primary_key=True),
        sa.Column("key", CleanText(), primary_key=True),
        sa.Column("request_sha256", CleanText(), nullable=False),
        sa.Column("result", Json()),
        sa.Column("lease_until", UtcDateTime()),
        sa.Column("created_at", UtcDateTime(), nullable=False),
    )
    op.create_index("ix_idempotency_keys_created", "idempotency_keys", ["created_at"])
    op.create_table(
        "actions",
        sa.Column("id", CleanText(), primary_key=True),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("door", CleanText(), nullable=False),
        sa.Column("actor", CleanText(), nullable=False),
        sa.Column("action", CleanText(), nullable=False),
        sa.Column("subject", CleanText()),
        sa.Column("status", sa.Integer()),
        sa.Column("request_id", CleanText()),
    )
