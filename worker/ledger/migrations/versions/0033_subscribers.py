"""Subscribers that people add, what they select, and what they replied"""

import sqlalchemy as sa
from alembic import op

from worker.ledger.schema import CleanText, Json, UtcDateTime

revision = "0033"
down_revision = "0032"
oldest_code = "0031"


def upgrade() -> None:
    for name in ("kind", "address", "format", "queue", "batch", "provider", "created_by", "disabled_reason"):
        op.add_column("subscribers", sa.Column(name, CleanText()))
    for name in ("secrets", "types", "labels"):
        op.add_column("subscribers", sa.Column(name, Json()))
    for name in ("created_at", "disabled_at", "failing_since"):
        op.add_column("subscribers", sa.Column(name, UtcDateTime()))
    op.add_column("deliveries", sa.Column("replies", Json()))
