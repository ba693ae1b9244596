"""What a process pays once and a test run pays for each of its thousands of ledgers: compiled SQL, and the disk."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite

from worker.ledger.database import database

_configure_sqlite = database._configure_sqlite


@contextmanager
def cheap_ledgers() -> Iterator[None]:
    """Ledgers of this process share their compiled statements, and no SQLite file waits for the disk."""
    compiled: dict[Any, Any] = {}

    def sharing(*arguments: Any, **options: Any) -> Engine:
        engine = create_engine(*arguments, **options)
        engine.update_execution_options(compiled_cache=compiled)
        return engine

    def without_waiting(connection: Any, record: object) -> None:
        _configure_sqlite(connection, record)
        connection.execute("PRAGMA synchronous=OFF")

    with pytest.MonkeyPatch.context() as patch:
        for dialect in (PGDialect_psycopg, SQLiteDialect_pysqlite):
            # Each engine has a dialect of its own, which is part of the key of what was compiled for it.
            patch.setattr(dialect, "__eq__", lambda self, other: type(self) is type(other))
            patch.setattr(dialect, "__hash__", lambda self: hash(type(self)))
        patch.setattr(database, "create_engine", sharing)
        patch.setattr(database, "_configure_sqlite", without_waiting)
        yield


@contextmanager
def durable_ledgers() -> Iterator[None]:
    """In it, SQLite is set as it is outside of tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(database, "_configure_sqlite", _configure_sqlite)
        yield
