"""Indexes for 0025: a generation by its key, the rows of a batch in their order, what may go to another provider"""

import sqlalchemy as sa

from worker.ledger.migrations.building import create_index

revision = "0026"
down_revision = "0025"
oldest_code = "0024"

FAILING_OVER = "state = 'queued' AND dispatched_at IS NULL AND providers IS NOT NULL"


def upgrade() -> None:
    create_index("uq_batches_unique_name", "batches", ["unique_name"], unique=True)
    create_index("ix_batches_source_sha256", "batches", ["source_sha256", "id"])
    for name, columns, condition in (
        ("key", ["key", "id"], "key IS NOT NULL"),
        ("row", ["batch_id", "row_number", "id"], "row_number IS NOT NULL"),
        ("failing_over", ["provider", "id"], FAILING_OVER),
    ):
        where = sa.text(condition)
        create_index(f"ix_generations_{name}", "generations", columns, sqlite_where=where, postgresql_where=where)
