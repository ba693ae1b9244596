"""Why an asset is not stored yet, as a word for programs"""

import sqlalchemy as sa
from alembic import op

from worker.ledger.types import CleanText

revision = "0018"
down_revision = "0015"
oldest_code = "0015"


def upgrade() -> None:
    op.add_column("assets", sa.Column("reason", CleanText(), nullable=True))
