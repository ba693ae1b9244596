"""How many bytes are kept aside is summed without looking at other assets"""

import sqlalchemy as sa

from worker.ledger.migrations.building import create_index

revision = "0022"
down_revision = "0021"
oldest_code = "0015"


def upgrade() -> None:
    there = sa.text("refused_bytes IS NOT NULL")
    create_index("ix_assets_refused", "assets", ["refused_bytes"], sqlite_where=there, postgresql_where=there)
