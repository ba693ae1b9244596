"""Building blocks of the ledger's statements, built once: building one in SQLAlchemy takes longer than running it."""

from collections.abc import Sequence
from functools import cache
from typing import Any

from sqlalchemy import BindParameter, Connection, Integer, Select, Table, Update, bindparam, select, update
from sqlalchemy.dialects import postgresql, sqlite

from worker.ledger.schema import UtcDateTime

#: stands for as many values as are given
IDS: BindParameter[Any] = bindparam("ids", expanding=True)
#: the time of the transaction
NOW = bindparam("now", type_=UtcDateTime())
LIMIT = bindparam("limit", type_=Integer)


def select_in(connection: Connection, statement: Select[Any], ids: Sequence[Any], **others: Any) -> list[Any]:
    """The rows of a statement that says `… in (IDS)`, however many: databases limit what one statement may carry."""
    chunks = (ids[start : start + 5000] for start in range(0, len(ids), 5000))
    return [row for chunk in chunks for row in connection.execute(statement, {"ids": chunk, **others})]


def insert_into(connection: Connection, table: Table) -> Any:
    """An INSERT that may say what happens to rows which are there already; both databases say it in the same words."""
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    return dialect.insert(table)


def insert_ignoring(connection: Connection, table: Table) -> Any:
    """An INSERT that leaves rows alone which are there already."""
    return insert_into(connection, table).on_conflict_do_nothing()


def update_row(connection: Connection, table: Table, where: dict[str, Any], **values: Any) -> int:
    """Set `values` in the rows whose columns equal `where`; how many there were."""
    statement = _update(table, tuple(where), tuple(values))
    parameters = {f"where_{name}": value for name, value in where.items()} | values
    return connection.execute(statement, parameters).rowcount


def find_row(connection: Connection, table: Table, **where: Any) -> Any:
    """The row whose columns equal `where`; None without one."""
    return connection.execute(
        _select(table, tuple(where)), {f"where_{name}": value for name, value in where.items()}
    ).first()


@cache
def _update(table: Table, where: tuple[str, ...], columns: tuple[str, ...]) -> Update:
    return update(table).where(*_equal(table, where)).values({name: bindparam(name) for name in columns})


@cache
def _select(table: Table, where: tuple[str, ...]) -> Select[Any]:
    return select(table).where(*_equal(table, where))


def _equal(table: Table, names: tuple[str, ...]) -> list[Any]:
    return [table.c[name] == bindparam(f"where_{name}") for name in names]
