"""Follow-ups that cannot be created are tried a few times and then set aside"""

import sqlalchemy as sa
from alembic import op

from worker.ledger.schema import CleanText, UtcDateTime

REFUSED = sa.text("follow_up_error IS NOT NULL AND followed_up_at IS NOT NULL")

revision = "0013"
down_revision = "0012"
oldest_code = "0012"


def upgrade() -> None:
    op.add_column("generations", sa.Column("follow_up_tries", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("generations", sa.Column("follow_up_error", CleanText(), nullable=True))
    op.add_column("generations", sa.Column("follow_up_not_before", UtcDateTime(), nullable=True))
    op.create_index(
        "ix_generations_follow_up_refused", "generations", ["id"], sqlite_where=REFUSED, postgresql_where=REFUSED
    )
