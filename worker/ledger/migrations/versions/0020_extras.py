"""A price also depends on options such as `hd`, and a charge says for which of them a factor had to be assumed"""

import sqlalchemy as sa
from alembic import op

from worker.ledger.schema import Json

revision = "0020"
down_revision = "0019"
oldest_code = "0015"


def upgrade() -> None:
    op.add_column("generations", sa.Column("extras", Json()))
    op.add_column("charges", sa.Column("assumed", Json()))
