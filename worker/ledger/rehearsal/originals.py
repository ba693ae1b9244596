"""Chooses how a ledger is copied."""

from pathlib import Path

from sqlalchemy import make_url

from worker.errors import ConfigurationError
from worker.ledger.database import Database
from worker.ledger.rehearsal.copies import Original
from worker.ledger.rehearsal.postgresql import PostgresqlOriginal
from worker.ledger.rehearsal.sqlite import SqliteOriginal


def open_original(url: str, scratch: str | None = None) -> Original:
    """Return the ledger at this URL. `scratch`: an empty PostgreSQL database for the copy; None: a new one beside it.

    Raises ConfigurationError for a URL that does not name a ledger, or a scratch database of another kind.
    """
    database = Database(url)
    if database.is_sqlite:
        if scratch is not None:
            raise ConfigurationError("--scratch is for PostgreSQL; a SQLite ledger is copied to a folder in TMPDIR")
        return SqliteOriginal(Path(str(make_url(database.url).database)))
    if scratch is None:
        return PostgresqlOriginal(database.url, None)
    other = Database(scratch)
    if other.is_sqlite:
        raise ConfigurationError(
            "--scratch names a SQLite file, but the ledger is in PostgreSQL: name an empty database"
        )
    return PostgresqlOriginal(database.url, other.url)
