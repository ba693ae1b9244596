"""Indexes for steering: the batches whose start is to come, and the flows of one batch"""

import sqlalchemy as sa

from worker.ledger.migrations.building import create_index

revision = "0027"
down_revision = "0026"
oldest_code = "0024"

STARTING = "start_at IS NOT NULL"


def upgrade() -> None:
    where = sa.text(STARTING)
    create_index("ix_batches_starting", "batches", ["start_at"], sqlite_where=where, postgresql_where=where)
    create_index("ix_flows_flow", "flows", ["flow"])
