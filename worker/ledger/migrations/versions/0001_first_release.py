"""The ledger as of the first release"""

import sqlalchemy as sa
from alembic import op

from worker.ledger.schema import CleanText, Json, UtcDateTime

IN_FLIGHT = "(state IN ('submitting', 'submitted', 'unconfirmed')) OR (state = 'queued' AND dispatched_at IS NOT NULL)"

SET_ASIDE = "verdict IN ('unreadable', 'mismatch', 'orphan', 'poison')"

revision = "0001"
down_revision = None
oldest_code = "0001"


def upgrade() -> None:
    op.create_table(
        "batches",
        sa.Column("id", CleanText(), nullable=False),
        sa.Column("name", CleanText(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("completed_at", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_batches")),
    )
    op.create_table(
        "callbacks",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("attempt_id", CleanText(), nullable=False),
        sa.Column("provider", CleanText(), nullable=False),
        sa.Column("received_at", UtcDateTime(), nullable=False),
        sa.Column("remote_address", CleanText(), nullable=True),
        sa.Column("headers", Json(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("digest", CleanText(), nullable=False),
        sa.Column("applied_at", UtcDateTime(), nullable=True),
        sa.Column("verdict", CleanText(), nullable=True),
        sa.Column("error", CleanText(), nullable=True),
        sa.Column("tries", sa.Integer(), server_default="0", nullable=False),
        sa.Column("not_before", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_callbacks")),
        sa.UniqueConstraint("attempt_id", "digest", name=op.f("uq_callbacks_attempt_id_digest")),
    )
    with op.batch_alter_table("callbacks", schema=None) as batch_op:
        batch_op.create_index(
            "ix_callbacks_due",
            ["id"],
            unique=False,
            sqlite_where=sa.text("applied_at IS NULL"),
            postgresql_where=sa.text("applied_at IS NULL"),
        )
        batch_op.create_index(
            "ix_callbacks_set_aside",
            ["id"],
            unique=False,
            sqlite_where=sa.text(SET_ASIDE),
            postgresql_where=sa.text(SET_ASIDE),
        )

    op.create_table(
        "events",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("type", CleanText(), nullable=False),
        sa.Column("generation_id", CleanText(), nullable=True),
        sa.Column("batch_id", CleanText(), nullable=True),
        sa.Column("payload", Json(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_events")),
    )
    with op.batch_alter_table("events", schema=None) as batch_op:
        batch_op.create_index("ix_events_generation", ["generation_id", "id"], unique=False)

    op.create_table(
        "heartbeats",
        sa.Column("worker", CleanText(), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("seen_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("worker", name=op.f("pk_heartbeats")),
    )
    op.create_table(
        "provider_limits",
        sa.Column("provider", CleanText(), nullable=False),
        sa.Column("tokens", sa.Float(), nullable=False),
        sa.Column("refilled_at", UtcDateTime(), nullable=False),
        sa.Column("turn", sa.BigInteger(), nullable=False),
        sa.Column("paused_until", UtcDateTime(), nullable=True),
        sa.Column("pause_reason", CleanText(), nullable=True),
        sa.PrimaryKeyConstraint("provider", name=op.f("pk_provider_limits")),
    )
    op.create_table(
        "generations",
        sa.Column("id", CleanText(), nullable=False),
        sa.Column("batch_id", CleanText(), nullable=True),
        sa.Column("parent_id", CleanText(), nullable=True),
        sa.Column("depth", sa.SmallInteger(), nullable=False),
        sa.Column("provider", CleanText(), nullable=False),
        sa.Column("operation", CleanText(), nullable=False),
        sa.Column("action", CleanText(), nullable=True),
        sa.Column("prompt", CleanText(), nullable=False),
        sa.Column("options", Json(), nullable=False),
        sa.Column("follow_up", Json(), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("turn", sa.BigInteger(), nullable=False),
        sa.Column("key", CleanText(), nullable=True),
        sa.Column("dedupe", CleanText(), nullable=True),
        sa.Column("state", CleanText(), nullable=False),
        sa.Column("task_id", CleanText(), nullable=True),
        sa.Column("progress", sa.SmallInteger(), nullable=True),
        sa.Column("reason", CleanText(), nullable=True),
        sa.Column("message", CleanText(), nullable=True),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("actions", Json(), nullable=False),
        sa.Column("parent_handle", Json(), nullable=False),
        sa.Column("handle", Json(), nullable=False),
        sa.Column("not_before", UtcDateTime(), nullable=True),
        sa.Column("dispatched_at", UtcDateTime(), nullable=True),
        sa.Column("poll_at", UtcDateTime(), nullable=True),
        sa.Column("polls", sa.Integer(), nullable=False),
        sa.Column("followed_up_at", UtcDateTime(), nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.Column("submitted_at", UtcDateTime(), nullable=True),
        sa.Column("finished_at", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(["batch_id"], ["batches.id"], name=op.f("fk_generations_batch_id")),
        sa.ForeignKeyConstraint(["parent_id"], ["generations.id"], name=op.f("fk_generations_parent_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_generations")),
        sa.UniqueConstraint("dedupe", name=op.f("uq_generations_dedupe")),
    )
    with op.batch_alter_table("generations", schema=None) as batch_op:
        batch_op.create_index("ix_generations_batch", ["batch_id", "state"], unique=False)
        batch_op.create_index("ix_generations_by_state", [sa.text("(state || '')"), "id"], unique=False)
        batch_op.create_index(
            "ix_generations_dispatched",
            ["dispatched_at"],
            unique=False,
            sqlite_where=sa.text("state = 'queued' AND dispatched_at IS NOT NULL"),
            postgresql_where=sa.text("state = 'queued' AND dispatched_at IS NOT NULL"),
        )
        batch_op.create_index(
            "ix_generations_follow_up",
            ["batch_id"],
            unique=False,
            sqlite_where=sa.text("state = 'archived' AND followed_up_at IS NULL"),
            postgresql_where=sa.text("state = 'archived' AND followed_up_at IS NULL"),
        )
        batch_op.create_index(
            "ix_generations_in_flight",
            ["provider"],
            unique=False,
            sqlite_where=sa.text(IN_FLIGHT),
            postgresql_where=sa.text(IN_FLIGHT),
        )
        batch_op.create_index("ix_generations_parent", ["parent_id"], unique=False)
        batch_op.create_index(
            "ix_generations_poll",
            ["poll_at"],
            unique=False,
            sqlite_where=sa.text("state IN ('submitted', 'unconfirmed')"),
            postgresql_where=sa.text("state IN ('submitted', 'unconfirmed')"),
        )
        batch_op.create_index(
            "ix_generations_waiting",
            ["provider", sa.literal_column("priority DESC"), "turn", "id"],
            unique=False,
            sqlite_where=sa.text("state = 'queued' AND dispatched_at IS NULL"),
            postgresql_where=sa.text("state = 'queued' AND dispatched_at IS NULL"),
        )

    op.create_table(
        "assets",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("generation_id", CleanText(), nullable=False),
        sa.Column("index", sa.Integer(), nullable=False),
        sa.Column("kind", CleanText(), nullable=False),
        sa.Column("url", CleanText(), nullable=False),
        sa.Column("deadline", UtcDateTime(), nullable=False),
        sa.Column("state", CleanText(), nullable=False),
        sa.Column("lease", CleanText(), nullable=True),
        sa.Column("not_before", UtcDateTime(), nullable=True),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("renewals", sa.Integer(), nullable=False),
        sa.Column("error", CleanText(), nullable=True),
        sa.Column("key", CleanText(), nullable=True),
        sa.Column("sha256", CleanText(), nullable=True),
        sa.Column("bytes", sa.BigInteger(), nullable=True),
        sa.Column("content_type", CleanText(), nullable=True),
        sa.Column("width", sa.Integer(), nullable=True),
        sa.Column("height", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(["generation_id"], ["generations.id"], name=op.f("fk_assets_generation_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_assets")),
        sa.UniqueConstraint("generation_id", "index", name=op.f("uq_assets_generation_id_index")),
    )
    with op.batch_alter_table("assets", schema=None) as batch_op:
        batch_op.create_index(
            "ix_assets_due",
            ["deadline"],
            unique=False,
            sqlite_where=sa.text("state = 'waiting'"),
            postgresql_where=sa.text("state = 'waiting'"),
        )

    op.create_table(
        "attempts",
        sa.Column("id", CleanText(), nullable=False),
        sa.Column("generation_id", CleanText(), nullable=False),
        sa.Column("provider", CleanText(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("state", CleanText(), nullable=False),
        sa.Column("task_id", CleanText(), nullable=True),
        sa.Column("error", CleanText(), nullable=True),
        sa.Column("sent_at", UtcDateTime(), nullable=False),
        sa.Column("lease_until", UtcDateTime(), nullable=False),
        sa.Column("settled_at", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(["generation_id"], ["generations.id"], name=op.f("fk_attempts_generation_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_attempts")),
        sa.UniqueConstraint("provider", "task_id", name=op.f("uq_attempts_provider_task_id")),
    )
    with op.batch_alter_table("attempts", schema=None) as batch_op:
        batch_op.create_index("ix_attempts_generation", ["generation_id", "number"], unique=False)
        batch_op.create_index(
            "ix_attempts_sending",
            ["lease_until"],
            unique=False,
            sqlite_where=sa.text("state = 'sending'"),
            postgresql_where=sa.text("state = 'sending'"),
        )
        batch_op.create_index(
            "uq_attempts_live",
            ["generation_id"],
            unique=True,
            sqlite_where=sa.text("state IN ('sending', 'accepted', 'uncertain')"),
            postgresql_where=sa.text("state IN ('sending', 'accepted', 'uncertain')"),
        )

    op.create_table(
        "transitions",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("generation_id", CleanText(), nullable=False),
        sa.Column("from", CleanText(), nullable=True),
        sa.Column("to", CleanText(), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("cause", CleanText(), nullable=False),
        sa.ForeignKeyConstraint(["generation_id"], ["generations.id"], name=op.f("fk_transitions_generation_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_transitions")),
    )
    with op.batch_alter_table("transitions", schema=None) as batch_op:
        batch_op.create_index("ix_transitions_generation", ["generation_id", "id"], unique=False)
