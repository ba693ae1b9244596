"""Statements with the type of their rows: mypy rejects access to a column that a row does not have."""

from collections.abc import Sequence
from typing import Generic, NamedTuple, TypeVar

from sqlalchemy import ColumnElement, Connection, Executable, SelectBase, UpdateBase

from worker.ledger.schema import AnyTable

R = TypeVar("R", bound=NamedTuple)

#: the most values in one statement: databases limit them
_MOST_IDS = 5000


class Query(Generic[R]):
    """A statement that returns rows, and a NamedTuple whose fields are its columns, in order."""

    def __init__(self, row: type[R], statement: SelectBase | UpdateBase) -> None:
        columns = tuple(statement.exported_columns.keys())
        if columns != row._fields or not isinstance(statement, Executable):
            raise TypeError(f"{row.__name__} has the fields {row._fields}, but its statement gives {columns}")
        self._row = row
        self._statement: Executable = statement

    def all(self, connection: Connection, **parameters: object) -> list[R]:
        return [self._row._make(found) for found in connection.execute(self._statement, parameters)]

    def first(self, connection: Connection, **parameters: object) -> R | None:
        found = connection.execute(self._statement, parameters).first()
        return None if found is None else self._row._make(found)

    def each(self, connection: Connection, ids: Sequence[object], **parameters: object) -> list[R]:
        """The rows of a statement with `… in (IDS)`, for any number of ids."""
        chunks = (ids[start : start + _MOST_IDS] for start in range(0, len(ids), _MOST_IDS))
        return [found for chunk in chunks for found in self.all(connection, ids=chunk, **parameters)]


def columns_of(table: AnyTable, row: type[NamedTuple], **named: str) -> list[ColumnElement[object]]:
    """The columns of a table that rows of this type have; `named`: field → column, where they differ."""
    return [table.c[named[name]].label(name) if name in named else table.c[name] for name in row._fields]
