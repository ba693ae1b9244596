"""What was packed into one string has columns: deaths of an archiving lease, a budget's key, what something is held by

The last migration that contracts, before the first release: code before it reads the old form of `held` and of the key
of `budgets`, so it may begin nothing any more; and what it has under way of what has a price, it cannot settle. Such an
answer is found again as a lost one is: by its callback or by asking for it. So workers are best stopped before it.

Leases that are out keep their token as it is, so that who works on an asset may still write down what became of it.

No CHECK constraints on states: who moves them is `worker/ledger/moves.py`, tested over all pairs. On SQLite each would
mean to copy its table, with all triggers, and any later state would have to drop the constraint, while older code is at
work: what a migration after this one must not do (decision 31).
"""

import sqlalchemy as sa
from alembic import op

from worker.ledger.schema import CleanText

revision = "0024"
down_revision = "0023"
oldest_code = "0024"

HELD = "state = 'queued' AND held IS NOT NULL"
FLOW = "coalesce(batch_id, '')"
_AMOUNTS = ("reserved", "possible", "spent", "late")

# "{deaths}.{token}"; SQLite reads the number that a text begins with.
_DEATHS = {"sqlite": "CAST(lease AS integer)", "postgresql": "CAST(split_part(lease, '.', 1) AS integer)"}
# "{kind or batch} {digest} {price}"
_WORDS = {
    "sqlite": (
        "substr(held, 1, instr(held, ' ') - 1)",
        "substr(held, instr(held, ' ') + 1, instr(substr(held, instr(held, ' ') + 1), ' ') - 1)",
        "substr(substr(held, instr(held, ' ') + 1), instr(substr(held, instr(held, ' ') + 1), ' ') + 1)",
    ),
    "postgresql": tuple(f"split_part(held, ' ', {number})" for number in (1, 2, 3)),
}
# "{day}", "{day} {provider}", or the id of a batch
_IS_DAY, _IS_PROVIDER = "scope LIKE '____-__-__'", "scope LIKE '____-__-__ %'"


def upgrade() -> None:
    dialect = op.get_context().dialect.name

    op.add_column("assets", sa.Column("deaths", sa.Integer(), nullable=False, server_default="0"))
    # `key` is the caller's own name for a generation, everywhere.
    op.alter_column("assets", "key", new_column_name="object_key")
    op.execute(f"UPDATE assets SET deaths = {_DEATHS[dialect]} WHERE state = 'waiting' AND lease LIKE '%.%'")  # noqa: S608

    # Also where it is not queued any more: a person may have it tried again.
    op.drop_index("ix_generations_held", "generations")
    op.add_column("generations", sa.Column("held_prices", CleanText(), nullable=True))
    by, digest, price = _WORDS[dialect]
    op.execute(
        f"UPDATE generations SET held = CASE WHEN {by} IN ('day', 'provider') THEN {by} ELSE 'batch' END, "  # noqa: S608
        f"held_prices = {digest}, price = CAST({price} AS bigint) WHERE held IS NOT NULL"
    )
    condition = sa.text(HELD)
    in_line: list[str | sa.TextClause] = [sa.text(FLOW), sa.text("priority DESC"), "turn", "id", "batch_id"]
    op.create_index(
        "ix_generations_held",
        "generations",
        ["provider", "held", "held_prices", "price", *in_line],
        sqlite_where=condition,
        postgresql_where=condition,
    )

    # A primary key cannot be changed on SQLite.
    op.execute("CREATE TABLE budgets_before AS SELECT * FROM budgets")
    op.drop_table("budgets")
    op.create_table(
        "budgets",
        *(sa.Column(name, CleanText(), nullable=False) for name in ("kind", "day", "provider", "batch_id")),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in _AMOUNTS),
        sa.Column("told", CleanText(), nullable=True),
        sa.PrimaryKeyConstraint("kind", "day", "provider", "batch_id", name=op.f("pk_budgets")),
    )
    rest = ", ".join((*_AMOUNTS, "told"))
    op.execute(
        f"INSERT INTO budgets (kind, day, provider, batch_id, {rest}) SELECT "  # noqa: S608
        f"CASE WHEN {_IS_DAY} THEN 'day' WHEN {_IS_PROVIDER} THEN 'provider' ELSE 'batch' END, "
        f"CASE WHEN {_IS_DAY} OR {_IS_PROVIDER} THEN substr(scope, 1, 10) ELSE '' END, "
        f"CASE WHEN {_IS_PROVIDER} THEN substr(scope, 12) ELSE '' END, "
        f"CASE WHEN {_IS_DAY} OR {_IS_PROVIDER} THEN '' ELSE scope END, "
        f"{rest} FROM budgets_before"
    )
    op.drop_table("budgets_before")

    # One that is being removed is nobody's request: no words for that in the place of one.
    op.execute("UPDATE batches SET unfinished = NULL WHERE unfinished LIKE 'removed %'")
    condition = sa.text("unfinished_at IS NOT NULL")
    op.create_index(
        "ix_batches_unfinished_at",
        "batches",
        ["unfinished_at"],
        sqlite_where=condition,
        postgresql_where=condition,
    )
