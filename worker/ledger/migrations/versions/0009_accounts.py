"""Several accounts per provider, each with its own pace, pause and circuit breaker"""

import sqlalchemy as sa
from alembic import op

from worker.ledger.schema import CleanText, UtcDateTime

WAITING = "state = 'queued' AND dispatched_at IS NULL AND held IS NULL"
IN_FLIGHT = "(state IN ('submitting', 'submitted', 'unconfirmed')) OR (state = 'queued' AND dispatched_at IS NOT NULL)"

revision = "0009"
down_revision = "0008"
oldest_code = "0009"


def upgrade() -> None:
    op.create_table(
        "accounts",
        sa.Column("provider", CleanText(), nullable=False),
        sa.Column("account", CleanText(), nullable=False),
        sa.Column("tokens", sa.Float(), nullable=False),
        sa.Column("refilled_at", UtcDateTime(), nullable=False),
        sa.Column("paused_until", UtcDateTime(), nullable=True),
        sa.Column("pause_reason", CleanText(), nullable=True),
        sa.Column("factor", sa.Float(), nullable=False),
        sa.Column("shrunk_at", UtcDateTime(), nullable=True),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("openings", sa.Integer(), nullable=False),
        sa.Column("open_until", UtcDateTime(), nullable=True),
        sa.Column("probe", CleanText(), nullable=True),
        sa.PrimaryKeyConstraint("provider", "account", name=op.f("pk_accounts")),
    )
    op.execute(
        "INSERT INTO accounts (provider, account, tokens, refilled_at, paused_until, pause_reason, factor, failures, "
        "openings) SELECT provider, 'default', tokens, refilled_at, paused_until, pause_reason, 1, 0, 0 "
        "FROM provider_limits"
    )
    with op.batch_alter_table("provider_limits") as table:
        for column in ("tokens", "refilled_at", "paused_until", "pause_reason"):
            table.drop_column(column)
    op.add_column("attempts", sa.Column("account", CleanText(), nullable=False, server_default="default"))
    op.add_column("generations", sa.Column("account", CleanText(), nullable=True))
    op.add_column("generations", sa.Column("pinned", CleanText(), nullable=False, server_default=sa.text("''")))
    # Until now each provider had one key, so all that went anywhere went to its account, and follow-ups belong there.
    op.execute(
        "UPDATE generations SET account = 'default' "
        "WHERE (state <> 'queued' AND tries > 0) OR (state = 'queued' AND dispatched_at IS NOT NULL)"
    )
    op.execute("UPDATE generations SET pinned = 'default' WHERE state = 'queued' AND parent_handle <> '{}'")
    op.drop_index("ix_generations_waiting", "generations")
    op.drop_index("ix_generations_in_flight", "generations")
    in_line: list[str | sa.TextClause] = [sa.text("priority DESC"), "turn", "id"]
    for name, columns, where in (
        ("ix_generations_waiting", ["provider", "pinned", *in_line], WAITING),
        ("ix_generations_in_flight", ["provider", "account"], IN_FLIGHT),
    ):
        op.create_index(name, "generations", columns, sqlite_where=sa.text(where), postgresql_where=sa.text(where))
