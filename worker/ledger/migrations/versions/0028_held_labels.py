"""Which label's budget holds a generation

Older code would send what such a budget holds, but it also refuses a price file with caps of labels.
"""

import sqlalchemy as sa
from alembic import op

from worker.ledger.schema import CleanText

revision = "0028"
down_revision = "0027"
oldest_code = "0024"


def upgrade() -> None:
    op.add_column("generations", sa.Column("held_label", CleanText()))
