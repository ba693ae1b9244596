"""Indexes for migrations, built and dropped while the tables are in use.

A migration must do this first: on PostgreSQL it happens on a separate connection, and waits for every transaction that
has locked the table. The migration's own must not be one of them.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from alembic import op
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from sqlalchemy import TextClause, inspect


def create_index(name: str, table: str, columns: Sequence[str | TextClause], **options: Any) -> None:
    """Like `op.create_index`, but without blocking the table on PostgreSQL.

    For existing tables and columns. Restarts an interrupted build.
    """
    with _beside(table) as (operations, how):
        if how:
            operations.drop_index(name, table, if_exists=True, **how)
        operations.create_index(name, table, columns, **how, **options)


def drop_index(name: str, table: str) -> None:
    """Like `op.drop_index`, but without blocking the table on PostgreSQL."""
    with _beside(table) as (operations, how):
        operations.drop_index(name, table, if_exists=True, **how)


@contextmanager
def _beside(table: str) -> Iterator[tuple[Any, dict[str, Any]]]:
    """Alembic's operations, and the option that keeps them from blocking others, if there are any."""
    context = op.get_context()
    concurrently = {"postgresql_concurrently": True}
    if context.dialect.name != "postgresql":
        yield op, {}
    elif context.as_sql:
        with context.autocommit_block():
            yield op, concurrently
    else:
        alone = op.get_bind().engine.execution_options(isolation_level="AUTOCOMMIT")
        with alone.connect() as connection:
            connection.exec_driver_sql("SET statement_timeout = 0")
            # In a new ledger, the table is not visible to anybody else yet.
            is_seen = inspect(connection).has_table(table)
            yield (Operations(MigrationContext.configure(connection)), concurrently) if is_seen else (op, {})
