"""Results that are texts"""

import sqlalchemy as sa
from alembic import op

from worker.ledger.schema import Json

revision = "0002"
down_revision = "0001"
oldest_code = "0002"


def upgrade() -> None:
    op.add_column("assets", sa.Column("content", Json(), nullable=True))
