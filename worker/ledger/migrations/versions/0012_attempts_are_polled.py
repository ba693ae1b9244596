"""What is asked for belongs to the attempt, not to its generation"""

import sqlalchemy as sa
from alembic import op

from worker.ledger.schema import Json, UtcDateTime

POLLED = "poll_at IS NOT NULL"
LIVE = "state IN ('sending', 'accepted', 'uncertain')"

revision = "0012"
down_revision = "0011"
oldest_code = "0012"


def upgrade() -> None:
    op.add_column("attempts", sa.Column("poll_at", UtcDateTime(), nullable=True))
    op.add_column("attempts", sa.Column("polls", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("attempts", sa.Column("candidates", Json(), nullable=True))
    of_mine = "FROM generations g WHERE g.id = attempts.generation_id"
    op.execute(
        f"UPDATE attempts SET poll_at = (SELECT g.poll_at {of_mine}), polls = (SELECT g.polls {of_mine}) "  # noqa: S608
        f"WHERE {LIVE} AND EXISTS (SELECT 1 {of_mine} AND g.state IN ('submitted', 'unconfirmed'))"
    )
    # Nobody asked for those whose generation had gone on.
    op.execute(
        "UPDATE attempts SET poll_at = sent_at WHERE state IN ('accepted', 'uncertain') "  # noqa: S608
        f"AND NOT EXISTS (SELECT 1 {of_mine} AND g.state IN ('submitted', 'unconfirmed'))"
    )
    of_looks = "FROM second_looks s WHERE s.attempt_id = attempts.id"
    op.execute(
        f"UPDATE attempts SET poll_at = (SELECT s.at {of_looks}), polls = (SELECT s.looks {of_looks}) "  # noqa: S608
        f"WHERE state = 'failed' AND task_id IS NOT NULL AND EXISTS (SELECT 1 {of_looks})"
    )
    # It was told as paid twice when it was taken.
    op.execute("UPDATE attempts SET state = 'succeeded' WHERE state = 'abandoned' AND task_id IS NOT NULL")
    op.create_index("ix_attempts_poll", "attempts", ["poll_at"], sqlite_where=sa.text(POLLED),
                    postgresql_where=sa.text(POLLED))  # fmt: skip
    op.drop_table("second_looks")
    op.drop_index("ix_generations_poll", "generations")
    for column in ("poll_at", "polls"):
        op.drop_column("generations", column)
