"""Each worker tells the rates and rooms that it was set to"""

import sqlalchemy as sa
from alembic import op

from worker.ledger.schema import Json

revision = "0021"
down_revision = "0020"
oldest_code = "0015"


def upgrade() -> None:
    op.add_column("heartbeats", sa.Column("limits", Json()))
