"""Index for 0028: what is held is found by the label"""

import sqlalchemy as sa

from worker.ledger.migrations.building import create_index

revision = "0029"
down_revision = "0028"
oldest_code = "0024"

HELD_BY_LABEL = "state = 'queued' AND held IS NOT NULL AND held_label IS NOT NULL"


def upgrade() -> None:
    line = (sa.text("coalesce(batch_id, '')"), sa.text("priority DESC"), "turn", "id")
    where = sa.text(HELD_BY_LABEL)
    create_index(
        "ix_generations_held_label",
        "generations",
        ["provider", "held_label", "held_prices", "price", *line],
        sqlite_where=where,
        postgresql_where=where,
    )
