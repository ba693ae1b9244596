"""Links that are at risk are told of once; films have a length"""

import sqlalchemy as sa
from alembic import op

from worker.ledger.schema import UtcDateTime

revision = "0003"
down_revision = "0002"
oldest_code = "0002"


def upgrade() -> None:
    op.add_column("assets", sa.Column("at_risk_at", UtcDateTime(), nullable=True))
    op.add_column("assets", sa.Column("seconds", sa.Float(), nullable=True))
