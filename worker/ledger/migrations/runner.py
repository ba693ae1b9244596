"""Upgrades the ledger's tables, and checks their revision."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, event

from worker.errors import ConfigurationError, LedgerUnavailable
from worker.ledger.database import (
    BUSY_SECONDS,
    CONNECT_ARGS,
    REVISION,
    Database,
    objection_to,
    oldest_code,
    sqlstate,
    translated_errors,
)

log = logging.getLogger(__name__)

#: arbitrary: the holder of PostgreSQL's advisory lock with this number migrates
_MIGRATION_LOCK = 20261121
#: lock_not_available, deadlock_detected
_IN_USE = {"55P03", "40P01"}
#: how long a migration waits for a lock, while others queue behind it (they give up after 3), and its pause afterwards
_LOCK_SECONDS, _PAUSE_SECONDS = 2, 2.0
#: how long to keep trying one migration
PATIENCE_SECONDS = 600

Step = TypeVar("Step")


@dataclass(frozen=True, slots=True)
class Migration:
    """`title`: what it is about."""

    revision: str
    title: str


def upgrade(
    database: Database, say: Callable[[str], None] = log.info, reached: Callable[[str], None] = lambda _: None
) -> tuple[str | None, str]:
    """Run the missing migrations, each in its own transaction; return the revision before and after.

    Safe to run concurrently. On PostgreSQL it waits for tables in use without blocking others, and calls `say`;
    `reached` gets the revision after each transaction. A newer ledger that is compatible with this version is not
    changed. Raises ConfigurationError if the ledger cannot be opened or is in use for too long, VersionTooOld if it is
    too new.
    """
    engine = _engine(database)
    step = partial(_patiently, partial(_step, database, engine), say)
    try:
        database.make_file()
        before, after, head = step()
        reached(str(after))
        while after != head:
            _, after, head = step()
            reached(str(after))
    except LedgerUnavailable as error:
        raise ConfigurationError(f"{error}; check DATABASE_URL and DARKROOM_DATA") from error
    else:
        return before, head
    finally:
        engine.dispose()


def _step(database: Database, engine: Engine) -> tuple[str | None, str | None, str]:
    """Run the first missing migration (in a new ledger, all); return the revision before and after, and the newest."""
    with translated_errors(), database.gate(), engine.begin() as connection:
        if not database.is_sqlite:
            connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{_LOCK_SECONDS}s'")
            # It is idle while an index is built beside it (`building.py`).
            connection.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = 0")
            # Held until the transaction ends: through a pooler, a lock cannot be tied to anything longer.
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})")
        before, head = _revisions(connection)
        if before == head or (before is not None and _is_newer(connection, before)):
            return before, before, before
        # Nobody waits for a new ledger.
        command.upgrade(_config(connection), "head" if before is None else "+1")
        return before, MigrationContext.configure(connection).get_current_revision(), head


def create(database: Database, revision: str) -> None:
    """Create the tables as they were at an earlier revision, in an empty PostgreSQL database."""
    engine = _engine(database)
    try:
        with translated_errors(), engine.begin() as connection:
            command.upgrade(_config(connection), revision)
    finally:
        engine.dispose()


def missing(revision: str) -> tuple[Migration, ...]:
    """Return the migrations that a ledger at this revision still needs; none for a newer one.

    Raises ConfigurationError for a revision that no version has.
    """
    scripts = ScriptDirectory.from_config(_config())
    _require_known(revision, scripts)
    later = [Migration(one.revision, one.doc) for one in scripts.walk_revisions() if one.revision > revision]
    return tuple(later[::-1])


def _patiently(step: Callable[[], Step], say: Callable[[str], None]) -> Step:
    """Retry while others use the tables: a migration that waits for a lock makes all others queue behind it."""
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return step()
        except LedgerUnavailable as error:
            left = give_up_at - time.monotonic()
            if sqlstate(error) not in _IN_USE:
                raise
            if left <= 0:
                raise ConfigurationError(
                    "the ledger's tables were in use for too long, by a backup or an open transaction (see "
                    "pg_stat_activity): run `darkroom db upgrade` again afterwards; finished migrations are kept"
                ) from error
            say(f"the ledger's tables are in use, perhaps by a backup: trying again for another {left:.0f} s")
            time.sleep(_PAUSE_SECONDS)


def check(database: Database) -> str | None:
    """Return a remark if the tables are newer than this version, but compatible with it.

    Raises ConfigurationError if they are older, and VersionTooOld if this version is too old for them.
    """
    with database.read() as connection:
        before, head = _revisions(connection)
        if before == head:
            return None
        if before is not None and _is_newer(connection, before):
            return f"it is at revision {before}, newer than this version's {head}, but compatible with it"
    raise ConfigurationError(f"the ledger is at revision {before or 'none'}, not {head}: run `darkroom db upgrade`")


def _config(connection: Connection | None = None) -> Config:
    config = Config()
    # Alembic reads the value as a template, in which a single % is an error.
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def _revisions(connection: Connection) -> tuple[str | None, str]:
    """The ledger's revision and this version's; raises ConfigurationError for a revision that no version has."""
    scripts = ScriptDirectory.from_config(_config())
    current = MigrationContext.configure(connection).get_current_revision()
    if current is not None:
        _require_known(current, scripts)
    return current, str(scripts.get_current_head())


def _require_known(revision: str, scripts: ScriptDirectory) -> None:
    if revision <= REVISION and revision not in {script.revision for script in scripts.walk_revisions()}:
        raise ConfigurationError(
            f"the ledger is at revision {revision}, which no version of Darkroom has: check DATABASE_URL"
        )


def _is_newer(connection: Connection, current: str) -> bool:
    """Whether that revision is newer than this version; raises VersionTooOld if this version must not work with it."""
    if current <= REVISION:
        return False
    if objection := objection_to(REVISION, oldest_code(connection)):
        raise objection
    return True


def _engine(database: Database) -> Engine:
    """A separate engine: a migration may take longer than a query, and SQLite must not check foreign keys meanwhile."""
    if not database.is_sqlite:
        connect_args = {**CONNECT_ARGS, "prepare_threshold": None}
        return create_engine(database.url, hide_parameters=True, connect_args=connect_args)
    sqlite_args = {"timeout": BUSY_SECONDS, "isolation_level": None}
    engine = create_engine(database.url, hide_parameters=True, connect_args=sqlite_args)
    # Here, behind the gate: processes that change the mode concurrently interfere with each other.
    event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA journal_mode=WAL"))
    # Python's own transaction handling commits each table by itself: a migration that stops halfway could not be
    # resumed.
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    return engine
