"""Building blocks of the ledger's statements, built once: building one in SQLAlchemy takes longer than running it."""

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Connection,
    Insert,
    Integer,
    Update,
    bindparam,
    update,
)

from worker.ledger.schema import AnyTable, UtcDateTime

if TYPE_CHECKING:
    from sqlalchemy.dialects import postgresql, sqlite

#: column → value
Values = Mapping[str, object]

#: expands to any number of values
IDS: BindParameter[object] = bindparam("ids", expanding=True)
#: the time of the transaction
NOW = bindparam("now", type_=UtcDateTime())
LIMIT = bindparam("limit", type_=Integer)


def insert_into(connection: Connection, table: AnyTable) -> "postgresql.Insert | sqlite.Insert":
    """An INSERT that can handle conflicts with existing rows, in syntax that both databases share."""
    # A process uses one database, and the other's dialect takes 2 MB.
    if connection.dialect.name == "postgresql":
        from sqlalchemy.dialects.postgresql import insert  # noqa: PLC0415

        return insert(table)
    from sqlalchemy.dialects.sqlite import insert as insert_sqlite  # noqa: PLC0415

    return insert_sqlite(table)


def insert_ignoring(connection: Connection, table: AnyTable) -> Insert:
    """An INSERT that ignores rows that already exist; its `rowcount` is the number of new ones."""
    # Otherwise SQLAlchemy loses the count on PostgreSQL, and -1 would pass for a new row.
    return insert_into(connection, table).on_conflict_do_nothing().execution_options(preserve_rowcount=True)


def update_row(connection: Connection, table: AnyTable, where: Values, **values: object) -> int:
    """Set `values` in the rows whose columns equal `where`; return how many there were."""
    statement = _update(table, tuple(where), tuple(values))
    parameters = {f"where_{name}": value for name, value in where.items()} | values
    return connection.execute(statement, parameters).rowcount


@cache
def _update(table: AnyTable, where: tuple[str, ...], columns: tuple[str, ...]) -> Update:
    return update(table).where(*_equal(table, where)).values({name: bindparam(name) for name in columns})


def _equal(table: AnyTable, names: tuple[str, ...]) -> list[ColumnElement[bool]]:
    return [table.c[name] == bindparam(f"where_{name}") for name in names]
