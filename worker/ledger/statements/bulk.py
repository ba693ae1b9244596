"""Statements that write many rows at once.

All rows are one parameter, a JSON text. Given separate rows, PostgreSQL's driver sends them one by one. SQLite's driver
releases the interpreter lock for each, and a busy process may wait 5 ms to get it back, every time, while it holds the
write lock.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import cache, lru_cache
from typing import NamedTuple, TypeVar

from sqlalchemy import Connection, Dialect, Integer, make_url
from sqlalchemy.types import TypeEngine

from worker.ledger.database import RowsChanged
from worker.ledger.schema import AnyTable, UtcDateTime
from worker.ledger.statements.basics import Values

#: converts a value to what the database accepts; None if it accepts the value itself
_Processor = Callable[[object], object] | None

Item = TypeVar("Item")
Result = TypeVar("Result")


class Change(NamedTuple):
    """New `values` for the one row whose columns equal `where`."""

    where: Values
    values: dict[str, object]


class Updates:
    """Changes to locked rows, collected and then written together. A later value replaces an earlier one."""

    def __init__(self) -> None:
        self._changes: defaultdict[AnyTable, dict[str | int, Change]] = defaultdict(dict)

    def set(self, table: AnyTable, row_id: str | int, read: Values, values: Values) -> None:
        """Record a change. `read`: the values behind the decision, which the row must still have when it is written."""
        changes = self._changes[table]
        if row_id not in changes:
            changes[row_id] = Change({"id": row_id, **read}, {})
        changes[row_id].values.update(values)

    def write(self, connection: Connection) -> None:
        """Write all recorded changes. Raises RowsChanged."""
        for table, changes in self._changes.items():
            update_rows(connection, table, changes.values())
        self._changes.clear()


def together(write: Callable[[Sequence[Item]], Iterable[Result]], items: Sequence[Item]) -> list[Result]:
    """Write a group in one transaction; if its rows change meanwhile, retry once, then write each item in its own."""
    for _ in range(2):
        with suppress(RowsChanged):
            return list(write(items))
    results: list[Result] = []
    changed: RowsChanged | None = None
    for item in items:
        try:
            results += write([item])
        except RowsChanged as error:
            changed = error
    if changed is not None:
        raise changed
    return results


def insert_rows(connection: Connection, table: AnyTable, rows: Sequence[Values], *, ignoring: bool = False) -> None:
    """Insert rows that all have the same columns. `ignoring`: skip those that already exist."""
    if rows:
        columns = tuple(rows[0])
        statement = _insert(connection.dialect.name, table, columns, ignoring=ignoring)
        statement.execute(connection, ([row[name] for name in columns] for row in rows))


def update_rows(connection: Connection, table: AnyTable, changes: Iterable[Change]) -> None:
    """Change rows, with one statement for each set of columns.

    Raises RowsChanged unless each row still matches its `where`: the decision would rest on stale values.
    """
    alike: defaultdict[tuple[tuple[str, ...], tuple[str, ...]], list[tuple[object, ...]]] = defaultdict(list)
    for where, values in changes:
        keys, names = tuple(sorted(where)), tuple(sorted(values))
        alike[keys, names].append((*map(where.__getitem__, keys), *map(values.__getitem__, names)))
    for (keys, names), rows in alike.items():
        found = _update(connection.dialect.name, table, keys, names).execute(connection, rows)
        if found != len(rows):
            raise RowsChanged(
                f"{len(rows) - found} of {len(rows)} rows of {table.name} have changed since they were read"
            )


class _Statement(NamedTuple):
    sql: str
    #: one for each value of a row
    processors: Sequence[_Processor]
    #: the names of a row's values, which only PostgreSQL needs
    names: Sequence[str] | None

    def execute(self, connection: Connection, rows: Iterable[Sequence[object]]) -> int:
        """Return the number of rows affected."""
        processors, names = self.processors, self.names
        ready: list[object] = []
        for row in rows:
            values = [
                value if process is None else process(value) for process, value in zip(processors, row, strict=True)
            ]
            ready.append(values if names is None else dict(zip(names, values, strict=True)))
        text = json.dumps(ready, allow_nan=False, separators=(",", ":"))
        return connection.exec_driver_sql(self.sql, (text,)).rowcount


@cache
def _insert(database: str, table: AnyTable, columns: tuple[str, ...], *, ignoring: bool) -> _Statement:
    source, values, processors, names = _rows_of(database, table, columns)
    into = f"{_quoted(database, table.name)} ({', '.join(_quoted(database, name) for name in columns)})"
    # Without a WHERE, SQLite parses ON as a join's.
    end = " WHERE true ON CONFLICT DO NOTHING" if ignoring else ""
    sql = f"INSERT INTO {into} SELECT {', '.join(values)} FROM {source}{end}"  # noqa: S608  words of the schema
    return _Statement(sql, processors, names)


@cache
def _update(database: str, table: AnyTable, keys: tuple[str, ...], columns: tuple[str, ...]) -> _Statement:
    source, values, processors, names = _rows_of(database, table, (*keys, *columns))
    name = _quoted(database, table.name)
    distinct = {"sqlite": "IS", "postgresql": "IS NOT DISTINCT FROM"}[database]
    conditions = [
        f"{name}.{_quoted(database, key)} {distinct if table.c[key].nullable else '='} {value}"
        for key, value in zip(keys, values, strict=False)
    ]
    new = [f"{_quoted(database, key)} = {value}" for key, value in zip(columns, values[len(keys) :], strict=True)]
    sql = f"UPDATE {name} SET {', '.join(new)} FROM {source} WHERE {' AND '.join(conditions)}"  # noqa: S608  as above
    return _Statement(sql, processors, names)


class _Rows(NamedTuple):
    """Rows of a JSON text in SQL: as a table expression, with an expression for each column."""

    source: str
    values: list[str]
    processors: Sequence[_Processor]
    names: Sequence[str] | None


def _rows_of(database: str, table: AnyTable, columns: Sequence[str]) -> _Rows:
    dialect = _dialect(database)
    types = [table.c[name].type for name in columns]
    processors = [_processor(one, dialect) for one in types]
    if database == "postgresql":
        names = [f"c{number}" for number in range(len(columns))]
        typed = ", ".join(f"{name} {one.compile(dialect)}" for name, one in zip(names, types, strict=True))
        return _Rows(f"json_to_recordset(%s::json) AS v({typed})", [f"v.{name}" for name in names], processors, names)
    values = [f"json_extract(v.value, '$[{number}]')" for number in range(len(columns))]
    return _Rows("json_each(?) AS v", values, processors, None)


def _quoted(database: str, name: str) -> str:
    return _dialect(database).identifier_preparer.quote(name)


@cache
def _dialect(database: str) -> Dialect:
    return make_url(f"{database}://").get_dialect()()


def _processor(column_type: TypeEngine[object], dialect: Dialect) -> _Processor:
    process = column_type.dialect_impl(dialect).bind_processor(dialect)
    if isinstance(column_type, UtcDateTime) and process is not None:
        # Most rows of a group carry the time of their transaction.
        return lru_cache(256)(lambda moment: None if moment is None else str(process(moment)))
    if isinstance(column_type, Integer) and dialect.name == "sqlite":
        return _as_integer
    return process


def _as_integer(value: object) -> object:
    # SQLite's JSON would silently turn it into an inexact number.
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise OverflowError("an integer of more than 64 bits")
    return value
