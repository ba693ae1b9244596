"""Addresses that submissions name for their own events"""

import sqlalchemy as sa
from alembic import op

from worker.ledger.schema import CleanText, UtcDateTime

revision = "0035"
down_revision = "0034"
oldest_code = "0031"


def upgrade() -> None:
    op.add_column("subscribers", sa.Column("origin", CleanText()))
    op.create_table(
        "notify_addresses",
        sa.Column("subject", CleanText(), primary_key=True),
        sa.Column("subscriber", CleanText(), sa.ForeignKey("subscribers.name"), nullable=False),
        sa.Column("url", CleanText(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
    )
    op.create_index("ix_notify_addresses_subscriber", "notify_addresses", ["subscriber"])
    op.create_index("ix_notify_addresses_created", "notify_addresses", ["created_at", "subject"])
