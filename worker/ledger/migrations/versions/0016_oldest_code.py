"""The ledger says which versions may begin work on it, and each worker which one it is"""

import sqlalchemy as sa
from alembic import op

from worker.ledger.schema import CleanText

revision = "0016"
down_revision = "0015"
oldest_code = "0015"


def upgrade() -> None:
    # Beside the revision itself, so that one cannot be restored or changed without the other; Alembic leaves it alone.
    op.add_column("alembic_version", sa.Column("oldest_code", CleanText(), nullable=False, server_default="0015"))
    op.add_column("heartbeats", sa.Column("revision", CleanText(), nullable=False, server_default="0015"))
