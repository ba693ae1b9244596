"""${message}"""

import sqlalchemy as sa
from alembic import op

import worker.ledger.schema

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
# The lowest revision whose code may still begin work on a ledger at this one: that of the revision before, if this one
# only adds what older code may ignore.
oldest_code = ${repr(up_revision)}


def upgrade() -> None:
    ${upgrades if upgrades else "pass"}
