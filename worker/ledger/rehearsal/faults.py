"""Finds damage to a ledger's tables, whatever their contents."""

from collections.abc import Iterator

from sqlalchemy import Connection, select, text

from worker.errors import DarkroomError
from worker.ledger.database import Database
from worker.ledger.schema import metadata
from worker.secrets import described, redact

#: a damaged file yields many sentences, which say no more than the first ones
_MOST = 5
_INVALID_INDEXES = text(
    "SELECT indexrelid::regclass::text FROM pg_index JOIN pg_class ON pg_class.oid = indrelid "
    "WHERE NOT indisvalid AND relnamespace = 'public'::regnamespace ORDER BY 1"
)
_UNCHECKED = text(
    "SELECT conname || ' of ' || conrelid::regclass FROM pg_constraint "
    "WHERE NOT convalidated AND connamespace = 'public'::regnamespace ORDER BY 1"
)


def damage(database: Database) -> tuple[str, ...]:
    """Return a sentence for everything damaged, broken or missing; takes as long as reading the whole ledger."""
    with database.read() as connection:
        return tuple(_in_sqlite(connection) if database.is_sqlite else _in_postgresql(connection))


def missing_parts(database: Database) -> tuple[str, ...]:
    """Return a sentence for each table that lacks columns needed by this version."""
    return tuple(_unreadable(database))


def _in_sqlite(connection: Connection) -> Iterator[str]:
    found = connection.execute(text(f"PRAGMA integrity_check({_MOST})")).scalars().all()
    yield from (f"damaged: {line}" for line in found if line != "ok")
    for broken in connection.execute(text("PRAGMA foreign_key_check")).fetchmany(_MOST):
        yield f"row {broken[1]} of {broken[0]} refers to a missing row of {broken[2]}"


def _in_postgresql(connection: Connection) -> Iterator[str]:
    yield from (f"index {name} is not valid" for name in connection.execute(_INVALID_INDEXES).scalars())
    yield from (f"constraint {name} was not checked" for name in connection.execute(_UNCHECKED).scalars())


def _unreadable(database: Database) -> Iterator[str]:
    for table in metadata.sorted_tables:
        try:
            with database.read() as connection:
                connection.execute(select(table).limit(0))
        except DarkroomError as error:
            yield f"table {table.name} cannot be read: {reason_of(error)}"


def reason_of(error: Exception) -> str:
    """Return the database's own message; for any other error, its text."""
    said = getattr(error, "orig", None) or getattr(error.__cause__, "orig", None)
    if said is None:
        return str(error) if isinstance(error, DarkroomError) else described(error)
    return redact(str(said).strip().partition("\n")[0])
