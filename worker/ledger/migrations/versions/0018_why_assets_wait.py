"""Why an asset is not stored yet, as a word for programs; bytes that were refused, and who accepted them"""

import sqlalchemy as sa
from alembic import op

from worker.ledger.schema import CleanText, UtcDateTime

revision = "0018"
down_revision = "0017"
oldest_code = "0015"


def upgrade() -> None:
    for name in ("reason", "refused_sha256", "refused_type", "refused_why", "accepted_by"):
        op.add_column("assets", sa.Column(name, CleanText(), nullable=True))
    op.add_column("assets", sa.Column("refused_bytes", sa.BigInteger(), nullable=True))
    op.add_column("assets", sa.Column("accepted_at", UtcDateTime(), nullable=True))
