"""Since when an account is paused or its breaker open, and with which key it was"""

import sqlalchemy as sa
from alembic import op

from worker.ledger.types import CleanText, UtcDateTime

revision = "0019"
down_revision = "0017"
oldest_code = "0015"


def upgrade() -> None:
    for name, kind in (("paused_at", UtcDateTime()), ("paused_key", CleanText()), ("opened_at", UtcDateTime())):
        op.add_column("accounts", sa.Column(name, kind, nullable=True))
