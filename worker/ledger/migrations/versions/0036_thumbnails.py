"""Thumbnails of stored images, their average colour and their hash"""

import sqlalchemy as sa
from alembic import op

from worker.ledger.schema import CleanText, UtcDateTime

revision = "0036"
down_revision = "0035"
# Older code wants no thumbnail of what it stores: it is made when somebody asks for it.
oldest_code = "0031"


def upgrade() -> None:
    op.add_column("assets", sa.Column("thumbnail", CleanText()))
    op.add_column("assets", sa.Column("thumbnail_at", UtcDateTime()))
    op.add_column("assets", sa.Column("thumbnail_lease", CleanText()))
    op.add_column("assets", sa.Column("thumbnail_tries", sa.Integer(), nullable=False, server_default="0"))
    for name in ("thumbnail_bytes", "thumbnail_width", "thumbnail_height", "colour"):
        op.add_column("assets", sa.Column(name, sa.Integer()))
    op.add_column("assets", sa.Column("dhash", sa.BigInteger()))
