"""How often a batch has been complete"""

import sqlalchemy as sa
from alembic import op

revision = "0034"
down_revision = "0033"
oldest_code = "0031"


def upgrade() -> None:
    op.add_column("batches", sa.Column("completions", sa.Integer(), nullable=False, server_default="0"))
