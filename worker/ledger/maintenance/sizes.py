"""How large the ledger is."""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, func, select, text

from worker.ledger.database import Database
from worker.ledger.schema import metadata

_SQLITE_BYTES = text(
    "SELECT about.tbl_name, sum(pages.pgsize) FROM dbstat('main', 1) AS pages "
    "JOIN sqlite_master AS about ON about.name = pages.name GROUP BY about.tbl_name"
)
_POSTGRESQL_BYTES = text(
    "SELECT relname, pg_total_relation_size(oid) FROM pg_class "
    "WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
)
# The planner's own estimate as well: a crash loses the one in the statistics.
_POSTGRESQL_ROWS = text(
    "SELECT about.relname, greatest(live.n_live_tup, about.reltuples) FROM pg_class AS about "
    "JOIN pg_stat_user_tables AS live ON live.relid = about.oid "
    "WHERE about.relkind = 'r' AND about.relnamespace = 'public'::regnamespace"
)
# Row ids ascend and the oldest rows are deleted first, so the range of ids is near the count. Each table takes two
# index look-ups.
_SQLITE_ROWS = text(
    " UNION ALL ".join(
        f"SELECT '{table.name}', coalesce((SELECT max(rowid) FROM \"{table.name}\") - "  # noqa: S608  our own names
        f'(SELECT min(rowid) FROM "{table.name}") + 1, 0)'
        for table in metadata.sorted_tables
        if table.dialect_options["sqlite"]["with_rowid"]
    )
)


@dataclass(frozen=True, slots=True)
class TableSize:
    """`bytes`: including indexes; None if SQLite was built without `dbstat`."""

    name: str
    rows: int
    bytes: int | None


@dataclass(frozen=True, slots=True)
class LedgerSize:
    """`bytes`: the whole database; `free`: the part of SQLite's file that is free for new rows."""

    tables: tuple[TableSize, ...]
    bytes: int
    free: int


@dataclass(frozen=True, slots=True)
class EstimatedSize:
    """`rows`: by table, approximate; `table_bytes`: with indexes, none on SQLite; `bytes`: the whole database."""

    rows: Mapping[str, int]
    table_bytes: Mapping[str, int]
    bytes: int


def estimated_size(database: Database) -> EstimatedSize:
    """Estimate without counting: as cheap in a large ledger as in a small one."""
    with database.read() as connection:
        found = connection.execute(_SQLITE_ROWS if database.is_sqlite else _POSTGRESQL_ROWS)
        rows = {name: int(number) for name, number in found}
        sizes = {} if database.is_sqlite else _bytes(connection, is_sqlite=False)
        whole, _ = _whole(connection, is_sqlite=database.is_sqlite)
    return EstimatedSize(rows, sizes, whole)


def ledger_size(database: Database) -> LedgerSize:
    """Count every row: may take minutes in a large ledger, but blocks nobody."""
    with database.read() as connection:
        if not database.is_sqlite:
            # Counting a table of many millions of rows would exceed the timeout.
            connection.execute(text("SET LOCAL statement_timeout = 0"))
        sizes = _bytes(connection, is_sqlite=database.is_sqlite)
        tables = tuple(
            TableSize(table.name, connection.execute(select(func.count()).select_from(table)).scalar_one(),
                      sizes.get(table.name))
            for table in metadata.sorted_tables
        )  # fmt: skip
        return LedgerSize(tables, *_whole(connection, is_sqlite=database.is_sqlite))


def ledger_bytes(database: Database) -> int:
    """Return the size of the whole database."""
    with database.read() as connection:
        return _whole(connection, is_sqlite=database.is_sqlite)[0]


def _whole(connection: Connection, *, is_sqlite: bool) -> tuple[int, int]:
    """The size of the database, and how much of it is free for new rows."""
    if is_sqlite:
        page, pages, free = (
            connection.execute(text(f"PRAGMA {name}")).scalar_one()
            for name in ("page_size", "page_count", "freelist_count")
        )
        return page * pages, page * free
    return connection.execute(text("SELECT pg_database_size(current_database())")).scalar_one(), 0


def _bytes(connection: Connection, *, is_sqlite: bool) -> dict[str, int]:
    if is_sqlite and "ENABLE_DBSTAT_VTAB" not in connection.execute(text("PRAGMA compile_options")).scalars().all():
        return {}
    found = connection.execute(_SQLITE_BYTES if is_sqlite else _POSTGRESQL_BYTES)
    return {name: int(size) for name, size in found}
