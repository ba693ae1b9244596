"""Since when an account is paused or its breaker open, and with which key it was; assets that could not be stored"""

import sqlalchemy as sa
from alembic import op

from worker.ledger.migrations.building import create_index
from worker.ledger.schema import CleanText, UtcDateTime

revision = "0019"
down_revision = "0018"
oldest_code = "0015"


def upgrade() -> None:
    # Before anything is locked: on PostgreSQL it is built beside this transaction, and waits for others to end.
    troubled = sa.text("state = 'waiting' AND error IS NOT NULL")
    create_index("ix_assets_troubled", "assets", ["deadline"], sqlite_where=troubled, postgresql_where=troubled)
    for name, kind in (("paused_at", UtcDateTime()), ("paused_key", CleanText()), ("opened_at", UtcDateTime())):
        op.add_column("accounts", sa.Column(name, kind, nullable=True))
