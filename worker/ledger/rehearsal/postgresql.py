"""A copy of a PostgreSQL ledger: the rows of one snapshot, by COPY, into tables that the migrations create.

Not by `pg_dump`: it is not installed where Darkroom runs, must not be older than the server, and would copy what others
keep in the same database. CREATE DATABASE … TEMPLATE requires that nobody is connected to the ledger.
"""

import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from graphlib import TopologicalSorter
from pathlib import Path
from typing import NamedTuple, cast

import psycopg
from psycopg import sql
from psycopg.rows import TupleRow
from sqlalchemy import Connection, Engine, column, create_engine, make_url, text

from worker.errors import ConfigurationError, DarkroomError, LedgerUnavailable
from worker.ledger.database import CONNECT_ARGS, Database, translated_errors
from worker.ledger.migrations import create
from worker.ledger.rehearsal.copies import ROOM, Copy, require_room
from worker.ledger.statements import Query

_PREFIX = "darkroom_rehearsal_"
_OURS = re.compile(rf"{_PREFIX}[0-9a-f]{{12}}")
#: marks a user's scratch database: its contents are ours
_MARKER = f"{_PREFIX}marker"
_PATIENT = (
    "SET LOCAL statement_timeout = 0",
    "SET LOCAL idle_in_transaction_session_timeout = 0",
    "SET LOCAL synchronous_commit = off",
)


class _Table(NamedTuple):
    name: str
    bytes: int


class _Reference(NamedTuple):
    """Rows of `name` refer to rows of `target`."""

    name: str
    target: str


class _Column(NamedTuple):
    """`sequence`: the sequence that numbers its rows, if any."""

    name: str
    sequence: str | None


_TABLES = Query(
    _Table,
    text(
        "SELECT relname, pg_table_size(oid) FROM pg_class "
        "WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace ORDER BY relname"
    ).columns(column("name"), column("bytes")),
)
_REFERENCES = Query(
    _Reference,
    text(
        "SELECT origin.relname, target.relname FROM pg_constraint "
        "JOIN pg_class AS origin ON origin.oid = conrelid JOIN pg_class AS target ON target.oid = confrelid "
        "WHERE contype = 'f' AND connamespace = 'public'::regnamespace AND conrelid <> confrelid"
    ).columns(column("name"), column("target")),
)
_COLUMNS = Query(
    _Column,
    text(
        "SELECT attname, pg_get_serial_sequence(quote_ident(:table), attname) FROM pg_attribute WHERE attnum > 0 "
        "AND attrelid = to_regclass('public.' || quote_ident(:table)) AND NOT attisdropped ORDER BY attnum"
    ).columns(column("name"), column("sequence")),
)
#: returns a row only to users who may know it
_FOLDER = text("SELECT setting FROM pg_settings WHERE name = 'data_directory'")


class PostgresqlOriginal:
    """`scratch`: the URL of an empty database for the copy; None: one is created beside the ledger."""

    def __init__(self, url: str, scratch: str | None) -> None:
        self._url = url
        self._scratch = scratch

    def revision(self) -> str:
        with self._reading() as connection:
            if connection.execute(text("SELECT to_regclass('public.alembic_version')")).scalar_one() is None:
                raise ConfigurationError("DATABASE_URL names a database without a ledger")
            return str(connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one())

    @contextmanager
    def copied(self, progress: Callable[[float], None]) -> Iterator[Copy]:
        began = time.monotonic()
        with self._reading() as original:
            size = original.execute(text("SELECT pg_database_size(current_database())")).scalar_one()
            if self._scratch is None:
                self._require_room(original, size)
        with self._empty_database() as url:
            with self._reading() as original, closing(Database(url)) as target:
                revision = str(original.execute(text("SELECT version_num FROM alembic_version")).scalar_one())
                create(target, revision)
                with _writing(url) as copy:
                    _copy_rows(original, copy, progress)
                with _alone(url) as connection:
                    # Without statistics, the migrations' queries would be planned as for empty tables.
                    connection.exec_driver_sql("ANALYZE")
            yield Copy(url, f"database {make_url(url).database}", size, time.monotonic() - began)

    def _require_room(self, original: Connection, size: int) -> None:
        """Check the disk if the server runs on this machine and lets its user know where it writes."""
        if make_url(self._url).host in {None, "", "localhost", "127.0.0.1", "::1"}:
            folder = original.execute(_FOLDER).scalar()
            if folder is not None and Path(folder).is_dir():
                free = shutil.disk_usage(folder).free
                advice = "make room, or name an empty database of another server with --scratch"
                require_room(ROOM * size, free, f"in {folder}", advice)

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        """One read-only transaction, enforced by the server, that sees a snapshot of the ledger."""
        engine = _engine(self._url).execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        try:
            with translated_errors(), engine.connect() as connection:
                for setting in _PATIENT:
                    connection.exec_driver_sql(setting)
                yield connection
        except LedgerUnavailable as error:
            raise ConfigurationError(f"{error}; check DATABASE_URL") from error
        finally:
            engine.dispose()

    @contextmanager
    def _empty_database(self) -> Iterator[str]:
        """Yield the URL of an empty database, and empty or drop it at the end."""
        if self._scratch is not None:
            _claim(self._scratch)
            try:
                yield self._scratch
            finally:
                _empty(self._scratch)
            return
        name = f"{_PREFIX}{secrets.token_hex(6)}"
        with _alone(self._url) as connection:
            _drop_left_behind(connection)
            try:
                connection.exec_driver_sql(f"CREATE DATABASE {name} TEMPLATE template0")
            except Exception as error:
                raise _refused(error) from error
        try:
            yield make_url(self._url).set(database=name).render_as_string(hide_password=False)
        finally:
            with _alone(self._url) as connection:
                connection.exec_driver_sql(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


def _engine(url: str) -> Engine:
    connect_args = {**CONNECT_ARGS, "prepare_threshold": None}
    return create_engine(url, hide_parameters=True, connect_args=connect_args)


@contextmanager
def _alone(url: str) -> Iterator[Connection]:
    """A connection outside any transaction."""
    engine = _engine(url).execution_options(isolation_level="AUTOCOMMIT")
    try:
        with translated_errors(), engine.connect() as connection:
            yield connection
    finally:
        engine.dispose()


@contextmanager
def _writing(url: str) -> Iterator[Connection]:
    engine = _engine(url)
    try:
        with translated_errors(), engine.begin() as connection:
            for setting in _PATIENT:
                connection.exec_driver_sql(setting)
            yield connection
    finally:
        engine.dispose()


def _refused(error: Exception) -> ConfigurationError:
    why = str(getattr(error, "orig", error)).strip().partition("\n")[0]
    return ConfigurationError(
        f"cannot create a database for the copy beside the ledger: {why}; allow its user to create databases, or name "
        "an empty one with --scratch"
    )


def _drop_left_behind(connection: Connection) -> None:
    """Drop the copies of killed rehearsals: nobody is connected to them."""
    for name in connection.execute(text("SELECT datname FROM pg_database")).scalars().all():
        if _OURS.fullmatch(name):
            # In use by another rehearsal, or owned by another user.
            with suppress(DarkroomError), translated_errors():
                connection.exec_driver_sql(f"DROP DATABASE IF EXISTS {name}")


def _claim(scratch: str) -> None:
    """Empty the database if a killed rehearsal has left its copy there. Raises ConfigurationError."""
    with _writing(scratch) as connection:
        tables = {table.name for table in _TABLES.all(connection)}
        if tables and _MARKER not in tables:
            raise ConfigurationError(
                f"--scratch: the database {make_url(scratch).database} has tables: name an empty one, because "
                "everything in it is deleted"
            )
    _empty(scratch)
    with _writing(scratch) as connection:
        connection.exec_driver_sql(f"CREATE TABLE {_MARKER} ()")


def _empty(scratch: str) -> None:
    with _writing(scratch) as connection:
        connection.exec_driver_sql("DROP SCHEMA public CASCADE")
        connection.exec_driver_sql("CREATE SCHEMA public")


def _copy_rows(original: Connection, copy: Connection, progress: Callable[[float], None]) -> None:
    sizes = {table.name: table.bytes for table in _TABLES.all(original)}
    tables = [table for table in _in_order(copy) if table != _MARKER]
    columns = {table: _columns(copy, table) for table in tables}
    _require_all(original, columns)
    # The triggers would count copied rows as well.
    copy.exec_driver_sql("ALTER TABLE generations DISABLE TRIGGER USER")
    copy.exec_driver_sql(f"TRUNCATE {', '.join(tables)}")
    whole, before = max(1, sum(sizes[table] for table in tables)), 0
    for table in tables:
        for done in _copied_bytes(original, copy, table, [*columns[table]]):
            # Rows may be longer as text than on disk.
            progress((before + min(done, sizes[table])) / whole)
        before += sizes[table]
        for name, sequence in columns[table].items():
            if sequence is not None:
                _move_on(copy, table, name, sequence)
    copy.exec_driver_sql("ALTER TABLE generations ENABLE TRIGGER USER")


def _in_order(connection: Connection) -> list[str]:
    """The tables, each after those that it references."""
    order: TopologicalSorter[str] = TopologicalSorter()
    for table in _TABLES.all(connection):
        order.add(table.name)
    for one in _REFERENCES.all(connection):
        order.add(one.name, one.target)
    return list(order.static_order())


def _columns(connection: Connection, table: str) -> dict[str, str | None]:
    """The columns of a table (none if it is missing), each with the sequence that numbers its rows, if any."""
    return {one.name: one.sequence for one in _COLUMNS.all(connection, table=table)}


def _require_all(original: Connection, columns: Mapping[str, Mapping[str, object]]) -> None:
    """Raise ConfigurationError if the ledger lacks something that the migrations created: somebody has removed it."""
    for table, needed in columns.items():
        if lacking := sorted(needed.keys() - _columns(original, table).keys()):
            raise ConfigurationError(
                f"the ledger's table {table} lacks the column {lacking[0]}, which its revision requires: repair it "
                "before you upgrade"
            )


def _copied_bytes(original: Connection, copy: Connection, table: str, columns: Sequence[str]) -> Iterator[int]:
    """Copy all rows of a table; yield the number of bytes copied from time to time."""
    names = sql.SQL(", ").join(map(sql.Identifier, columns))
    out = sql.SQL("COPY {} ({}) TO STDOUT").format(sql.Identifier(table), names)
    into = sql.SQL("COPY {} ({}) FROM STDIN").format(sql.Identifier(table), names)
    done = 0
    try:
        with _cursor(original).copy(out) as reading, _cursor(copy).copy(into) as writing:
            for piece in reading:
                writing.write(piece)
                done += len(piece)
                yield done
    except psycopg.Error as error:
        why = str(error).strip().partition("\n")[0]
        raise ConfigurationError(f"table {table} cannot be copied: {why}") from error


def _cursor(connection: Connection) -> psycopg.Cursor[TupleRow]:
    driver = cast("psycopg.Connection[TupleRow]", connection.connection.driver_connection)
    return driver.cursor()


def _move_on(copy: Connection, table: str, name: str, sequence: str) -> None:
    """Advance the sequence, so that the next row gets a number after the copied ones."""
    last = sql.SQL("SELECT setval({}, coalesce(max({}), 0) + 1, false) FROM {}")
    _cursor(copy).execute(last.format(sequence, sql.Identifier(name), sql.Identifier(table)))
