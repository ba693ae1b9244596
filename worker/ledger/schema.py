"""Bring the ledger's tables to the newest form, and say when they are not."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, event

from worker.errors import ConfigurationError, LedgerUnavailable
from worker.ledger.database import BUSY_SECONDS, Database
from worker.ledger.database_errors import translated_errors

#: any number of our own: who holds PostgreSQL's advisory lock of this number migrates
_MIGRATION_LOCK = 20261121


def upgrade(database: Database) -> tuple[str | None, str]:
    """Run the migrations that are missing, all or none; the revision before and after.

    Several may do this at once. Raises ConfigurationError when the ledger cannot be opened or belongs to a newer
    version of Darkroom.
    """
    try:
        engine = _engine(database)
        try:
            with translated_errors(), database.gate(), engine.begin() as connection:
                return _upgrade(connection)
        finally:
            engine.dispose()
    except LedgerUnavailable as error:
        raise ConfigurationError(f"{error}; check DATABASE_URL and DARKROOM_DATA") from error


def check(database: Database) -> None:
    """Raise ConfigurationError when the tables are not those of this version."""
    with database.read() as connection:
        before, head = _revisions(connection)
    if before != head:
        raise ConfigurationError(f"the ledger is at revision {before or 'none'}, not {head}: run `darkroom db upgrade`")


def _config() -> Config:
    config = Config()
    # Alembic reads the value as a template, in which a single % is an error.
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    return config


def _revisions(connection: Connection) -> tuple[str | None, str]:
    """The revision that the ledger is at, and that of this version; raises ConfigurationError for an unknown one."""
    scripts = ScriptDirectory.from_config(_config())
    current = MigrationContext.configure(connection).get_current_revision()
    if current is not None and current not in {script.revision for script in scripts.walk_revisions()}:
        raise ConfigurationError(
            f"the ledger is at revision {current}, which this version of Darkroom does not know: use a newer version"
        )
    return current, str(scripts.get_current_head())


def _upgrade(connection: Connection) -> tuple[str | None, str]:
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})")
    before, head = _revisions(connection)
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
    return before, head


def _engine(database: Database) -> Engine:
    """One of its own: a migration may take longer than a query, and SQLite checks no foreign keys while tables move."""
    if not database.is_sqlite:
        return create_engine(database.url, hide_parameters=True, connect_args={"connect_timeout": 5})
    connect_args = {"timeout": BUSY_SECONDS, "isolation_level": None}
    engine = create_engine(database.url, hide_parameters=True, connect_args=connect_args)
    # Here, behind the gate: several that change the mode at once get in each other's way.
    event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA journal_mode=WAL"))
    # Python's own transaction handling commits each table by itself: a migration that stops half-way could not go on.
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    return engine
