"""What nobody needs any more is deleted, and one attempt keeps only so many callbacks"""

import sqlalchemy as sa
from alembic import op

from worker.ledger.schema import CleanText, UtcDateTime

revision = "0015"
down_revision = "0014"
oldest_code = "0015"


def upgrade() -> None:
    op.add_column("attempts", sa.Column("callbacks_refused", sa.Integer(), nullable=False, server_default="0"))
    op.create_table(
        "prunes",
        sa.Column("kind", CleanText(), nullable=False),
        sa.Column("before", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("kind", name=op.f("pk_prunes")),
    )
    op.create_index("ix_deliveries_event", "deliveries", ["event_id"])
    for name, table, column, where in (
        ("ix_callbacks_done_with", "callbacks", "applied_at", "verdict IN ('applied', 'ignored', 'dismissed')"),
        ("ix_assets_linked", "assets", "deadline", "state = 'stored' AND url <> ''"),
    ):
        op.create_index(name, table, [column], sqlite_where=sa.text(where), postgresql_where=sa.text(where))
