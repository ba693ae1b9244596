"""Index for 0036: the images whose thumbnail is wanted"""

import sqlalchemy as sa

from worker.ledger.migrations.building import create_index

revision = "0037"
down_revision = "0036"
oldest_code = "0031"

UNMADE = "thumbnail = 'wanted' AND state = 'stored'"


def upgrade() -> None:
    where = sa.text(UNMADE)
    columns = ["thumbnail_at", "id"]
    create_index("ix_assets_unmade", "assets", columns, sqlite_where=where, postgresql_where=where)
