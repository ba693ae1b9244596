"""Alembic's entry: runs migrations in the transaction of `runner.py`, or writes them as SQL."""

from typing import Any

from alembic import context
from alembic.runtime.migration import MigrationContext, MigrationInfo
from sqlalchemy import text

from worker.ledger.schema import metadata

#: the revision that added the column
_STATED_SINCE = "0016"


def state_oldest_code(ctx: MigrationContext, step: MigrationInfo, *_: Any, **__: Any) -> None:
    """Record for processes of other versions, in the migration's own transaction, whether they may continue."""
    script: Any = step.up_revision
    if script.revision >= _STATED_SINCE:
        # Not a parameter: generated SQL cannot have any. The value is a constant of that file.
        ctx.impl.execute(text(f"UPDATE alembic_version SET oldest_code = '{script.module.oldest_code}'"))  # noqa: S608


context.configure(
    connection=context.config.attributes.get("connection"),
    # For generated SQL, which has no connection.
    dialect_name="postgresql",
    target_metadata=metadata,
    # SQLite changes a column only by copying its table.
    render_as_batch=True,
    on_version_apply=state_oldest_code,
)
with context.begin_transaction():
    context.run_migrations()
