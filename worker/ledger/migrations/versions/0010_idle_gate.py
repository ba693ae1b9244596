"""A gate that is closed only until the bucket can be asked"""

import sqlalchemy as sa
from alembic import op

from worker.ledger.schema import UtcDateTime

revision = "0010"
down_revision = "0009"
oldest_code = "0009"


def upgrade() -> None:
    op.add_column("gate", sa.Column("idle_since", UtcDateTime(), nullable=True))
