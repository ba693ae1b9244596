"""What was odd about stored bytes, and what has shown that they are in the bucket"""

import sqlalchemy as sa
from alembic import op

from worker.ledger.schema import CleanText

revision = "0023"
down_revision = "0022"
oldest_code = "0015"


def upgrade() -> None:
    for name in ("verified", "remark"):
        op.add_column("assets", sa.Column(name, CleanText()))
