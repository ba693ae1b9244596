"""Batches found by name, with their sheet's rows and columns; steering, failover, labels, input files"""

import sqlalchemy as sa
from alembic import op

from worker.ledger.schema import COUNTED, CleanText, Json, UtcDateTime

revision = "0025"
down_revision = "0024"
oldest_code = "0024"


def upgrade() -> None:
    op.add_column("batches", sa.Column("unique_name", CleanText()))
    op.add_column("batches", sa.Column("source", CleanText()))
    op.add_column("batches", sa.Column("source_sha256", CleanText()))
    op.add_column("batches", sa.Column("paused_at", UtcDateTime()))
    op.add_column("batches", sa.Column("start_at", UtcDateTime()))
    op.add_column("batches", sa.Column("max_cost", sa.BigInteger()))
    op.add_column("batches", sa.Column("max_in_flight", sa.Integer()))

    op.add_column("generations", sa.Column("input", Json()))
    op.add_column("generations", sa.Column("row_number", sa.Integer()))
    op.add_column("generations", sa.Column("row_sha256", CleanText()))
    op.add_column("generations", sa.Column("row_version", sa.Integer()))
    op.add_column("generations", sa.Column("providers", Json()))
    op.add_column("generations", sa.Column("provider_changes", Json()))

    op.create_table(
        "labels",
        sa.Column("generation_id", CleanText(), sa.ForeignKey("generations.id"), primary_key=True),
        sa.Column("name", CleanText(), primary_key=True),
        sa.Column("value", CleanText(), nullable=False),
    )
    op.create_index("ix_labels_name", "labels", ["name", "value", "generation_id"])
    op.create_table(
        "label_budgets",
        sa.Column("name", CleanText(), primary_key=True),
        sa.Column("value", CleanText(), primary_key=True),
        *(sa.Column(state.value, sa.BigInteger(), nullable=False) for state in COUNTED),
        sa.Column("told", CleanText()),
    )
    op.create_table(
        "inputs",
        sa.Column("sha256", CleanText(), primary_key=True),
        sa.Column("object_key", CleanText(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("content_type", CleanText(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("used_at", UtcDateTime(), nullable=False),
    )
    op.create_index("ix_inputs_used", "inputs", ["used_at"])
    op.create_table(
        "input_uses",
        sa.Column("generation_id", CleanText(), sa.ForeignKey("generations.id"), primary_key=True),
        sa.Column("sha256", CleanText(), sa.ForeignKey("inputs.sha256"), primary_key=True),
    )
    op.create_index("ix_input_uses_sha256", "input_uses", ["sha256", "generation_id"])
