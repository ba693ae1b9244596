"""Index for 0031: the steps of recipes that are due"""

import sqlalchemy as sa

from worker.ledger.migrations.building import create_index

revision = "0032"
down_revision = "0031"
oldest_code = "0031"

RECIPE_DUE = (
    "recipe IS NOT NULL AND ((state = 'failed' AND followed_failure_at IS NULL) OR "
    "(state IN ('succeeded', 'archived', 'expired') AND followed_success_at IS NULL) OR "
    "(state = 'archived' AND followed_archive_at IS NULL))"
)


def upgrade() -> None:
    where = sa.text(RECIPE_DUE)
    create_index("ix_generations_recipe_due", "generations", ["batch_id"], sqlite_where=where, postgresql_where=where)
