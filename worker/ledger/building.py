"""Indexes for migrations, built while the tables are in use."""

from collections.abc import Sequence
from typing import Any

from alembic import op
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from sqlalchemy import TextClause, inspect


def create_index(name: str, table: str, columns: Sequence[str | TextClause], **options: Any) -> None:
    """As `op.create_index`, but on PostgreSQL nobody waits for the table meanwhile; it waits for transactions to end.

    For a table and columns that are there before the migration begins. What stopped half-way is built anew.
    """
    context = op.get_context()
    if context.dialect.name != "postgresql":
        op.create_index(name, table, columns, **options)
    elif context.as_sql:
        with context.autocommit_block():
            op.create_index(name, table, columns, postgresql_concurrently=True, **options)
    else:
        # Not in the migration's own transaction, which only keeps others from migrating meanwhile.
        alone = op.get_bind().engine.execution_options(isolation_level="AUTOCOMMIT")
        with alone.connect() as connection:
            if not inspect(connection).has_table(table):
                # A new ledger, of which nobody else sees anything yet.
                op.create_index(name, table, columns, **options)
                return
            here = Operations(MigrationContext.configure(connection))
            here.drop_index(name, table, if_exists=True, postgresql_concurrently=True)
            here.create_index(name, table, columns, postgresql_concurrently=True, **options)
