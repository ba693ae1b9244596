"""A ledger as migration 0024 finds it: with its data, in the words that the code before it packed into strings."""

from typing import Any

from sqlalchemy import Connection, text

_BUDGETS = """CREATE TABLE budgets (
    scope text NOT NULL CONSTRAINT pk_budgets PRIMARY KEY, reserved bigint NOT NULL, possible bigint NOT NULL,
    spent bigint NOT NULL, late bigint NOT NULL, told text)"""
_HELD = "CREATE INDEX ix_generations_held ON generations (provider, held) WHERE state = 'queued' AND held IS NOT NULL"

#: what later migrations have added: indexes, tables, columns
_ADDED = {
    "INDEX": (
        *("uq_batches_unique_name", "ix_batches_source_sha256", "ix_generations_key", "ix_generations_row"),
        *("ix_generations_failing_over", "ix_batches_starting", "ix_flows_flow", "ix_generations_held_label"),
        *("uq_api_tokens_name", "ix_idempotency_keys_created", "ix_generations_recipe_due"),
        "ix_assets_unmade",
    ),
    "TABLE": (
        "marks",
        "sessions",
        "users",
        "notify_addresses",
        "approvals",
        "recipes",
        "actions",
        "api_tokens",
        "idempotency_keys",
        "input_uses",
        "inputs",
        "label_budgets",
        "labels",
    ),
}
_COLUMNS = {
    "assets": (
        *("thumbnail", "thumbnail_at", "thumbnail_lease", "thumbnail_tries", "thumbnail_bytes", "thumbnail_width"),
        *("thumbnail_height", "colour", "dhash"),
    ),
    "batches": (
        *("unique_name", "source", "source_sha256", "paused_at", "start_at", "max_cost", "max_in_flight"),
        "completions",
    ),
    "subscribers": (
        *("kind", "address", "format", "queue", "batch", "provider", "created_by", "disabled_reason"),
        *("secrets", "types", "labels", "created_at", "disabled_at", "failing_since", "origin"),
    ),
    "deliveries": ("replies",),
    "generations": (
        *("recipe", "recipe_name", "step", "followed_failure_at", "followed_success_at", "followed_archive_at"),
        *("input", "row_number", "row_sha256", "row_version", "providers", "provider_changes", "held_label"),
    ),
}


def back_to_0039(connection: Connection) -> None:
    """Nothing is counted for `/metrics`."""
    is_sqlite = connection.dialect.name == "sqlite"
    for name in ("added", "moved", "removed"):
        connection.execute(text(f"DROP TRIGGER tally_{name}{'' if is_sqlite else ' ON generations'}"))
    if not is_sqlite:
        connection.execute(text("DROP FUNCTION tally_generations"))
    for table in ("tallies", "tally_deltas"):
        connection.execute(text(f"DROP TABLE {table}"))
    connection.execute(text("ALTER TABLE prunes DROP COLUMN ended_at"))


def back_to_0024(connection: Connection) -> None:
    back_to_0039(connection)
    for kind, names in _ADDED.items():
        for name in names:
            connection.execute(text(f"DROP {kind} {name}"))
    for table, columns in _COLUMNS.items():
        for column in columns:
            connection.execute(text(f"ALTER TABLE {table} DROP COLUMN {column}"))


def back_to_0035(connection: Connection) -> None:
    back_to_0039(connection)
    for table in ("marks", "sessions", "users"):
        connection.execute(text(f"DROP TABLE {table}"))
    connection.execute(text("DROP INDEX ix_approvals_decided"))
    connection.execute(text("DROP INDEX ix_assets_unmade"))
    for column in _COLUMNS["assets"]:
        connection.execute(text(f"ALTER TABLE assets DROP COLUMN {column}"))
    connection.execute(text("UPDATE alembic_version SET version_num = '0035', oldest_code = '0031'"))


def back_to_0023(connection: Connection) -> None:
    back_to_0024(connection)

    def each(query: str) -> list[Any]:
        return list(connection.execute(text(query)))

    for row in each("SELECT id, lease, deaths FROM assets WHERE lease IS NOT NULL"):
        packed = {"id": row.id, "lease": f"{row.deaths}.{row.lease}"}
        connection.execute(text("UPDATE assets SET lease = :lease WHERE id = :id"), packed)
    connection.execute(text("ALTER TABLE assets DROP COLUMN deaths"))
    connection.execute(text("ALTER TABLE assets RENAME COLUMN object_key TO key"))

    connection.execute(text("DROP INDEX ix_generations_held"))
    for row in each("SELECT id, batch_id, held, held_prices, price FROM generations WHERE held IS NOT NULL"):
        by = row.batch_id if row.held == "batch" else row.held
        packed = {"id": row.id, "held": f"{by} {row.held_prices} {row.price:018}"}
        connection.execute(text("UPDATE generations SET held = :held WHERE id = :id"), packed)
    connection.execute(text("ALTER TABLE generations DROP COLUMN held_prices"))
    connection.execute(text(_HELD))

    budgets = each("SELECT * FROM budgets")
    connection.execute(text("DROP TABLE budgets"))
    connection.execute(text(_BUDGETS))
    for row in budgets:
        scope = row.batch_id or f"{row.day} {row.provider}".rstrip()
        packed = {"scope": scope, "told": row.told, "r": row.reserved, "p": row.possible, "s": row.spent, "l": row.late}
        connection.execute(text("INSERT INTO budgets VALUES (:scope, :r, :p, :s, :l, :told)"), packed)

    connection.execute(text("DROP INDEX ix_batches_unfinished_at"))
    removed = "UPDATE batches SET unfinished = 'removed ' || id WHERE unfinished IS NULL AND unfinished_at IS NOT NULL"
    connection.execute(text(removed))
    connection.execute(text("UPDATE alembic_version SET version_num = '0023', oldest_code = '0015'"))
