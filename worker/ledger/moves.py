"""The only way to change a row's state: along the transitions in the table of its enum."""

from collections.abc import Mapping
from enum import StrEnum
from functools import cache
from typing import Generic, TypeVar

from sqlalchemy import Column, Connection, Update, bindparam, text, update

from worker.ledger.schema import in_states

S = TypeVar("S", bound=StrEnum | None)


class Machine(Generic[S]):
    """The states in a column of a table. A caller that finds another state is too late and changes nothing."""

    def __init__(self, column: Column[object], moves: Mapping[S, frozenset[S]]) -> None:
        self.column = column
        self.moves = moves

    def allows(self, source: S, to: S) -> bool:
        return to in self.moves[source]

    def update_to(self, to: S) -> Update:
        """Return an UPDATE of all rows in a state that allows the move; the caller adds its conditions."""
        sources = [source for source, reached in self.moves.items() if to in reached]
        # As literals, because bound parameters hide from the planner which partial index has these rows.
        allowed = text(in_states(self.column.name, sources))
        return update(self.column.table).where(allowed).values({self.column: to})

    def move(self, connection: Connection, where: Mapping[str, object], to: S, **values: object) -> int:
        """Move the rows with these column values, and set `values`; return how many were moved."""
        parameters = {f"where_{name}": value for name, value in where.items()} | values
        return connection.execute(_move(self, to, tuple(where), tuple(values)), parameters).rowcount


@cache
def _move(machine: Machine[S], to: S, where: tuple[str, ...], columns: tuple[str, ...]) -> Update:
    of = machine.column.table.c
    mine = [of[name] == bindparam(f"where_{name}") for name in where]
    return machine.update_to(to).where(*mine).values({name: bindparam(name) for name in columns})
