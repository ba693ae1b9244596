"""Which label's budget holds a generation; older code would send what such a budget holds, for it knows none"""

import sqlalchemy as sa
from alembic import op

from worker.ledger.schema import CleanText

revision = "0029"
down_revision = "0026"
oldest_code = "0029"


def upgrade() -> None:
    op.add_column("generations", sa.Column("held_label", CleanText()))
