"""Batches have manifests; objects are found by their hash, and may differ from what came"""

import sqlalchemy as sa
from alembic import op

from worker.ledger.schema import CleanText, UtcDateTime

UNDESCRIBED = "completed_at IS NOT NULL AND manifest_at IS NULL"

STORED = "state = 'stored'"

revision = "0004"
down_revision = "0003"
oldest_code = "0002"


def upgrade() -> None:
    op.add_column("batches", sa.Column("manifest_at", UtcDateTime(), nullable=True))
    op.add_column("batches", sa.Column("manifest_lease", CleanText(), nullable=True))
    op.add_column("batches", sa.Column("manifest_not_before", UtcDateTime(), nullable=True))
    op.create_index(
        "ix_batches_manifest",
        "batches",
        ["id"],
        sqlite_where=sa.text(UNDESCRIBED),
        postgresql_where=sa.text(UNDESCRIBED),
    )
    op.add_column("assets", sa.Column("source_sha256", CleanText(), nullable=True))
    op.create_index(
        "ix_assets_sha256",
        "assets",
        ["sha256", "id"],
        sqlite_where=sa.text(STORED),
        postgresql_where=sa.text(STORED),
    )
