"""Classifies database errors: retry later, needs a person, or caused by the rows.

The classification uses PostgreSQL's SQLSTATE and SQLite's result code, not the driver's exception types. It lists error
classes instead of single errors, so that unknown errors are classified correctly.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import DatabaseError, DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from worker.errors import ConfigurationError, LedgerUnavailable, LedgerUnfit

#: may succeed later: connection lost, read-only, deadlock, out of memory or disk space, locked, shutting down, internal
_LATER_CLASSES = {"08", "25", "40", "53", "55", "57", "58", "72", "F0", "XX"}
#: works on a new connection: the server became a standby, or a pooler or an upgrade invalidated prepared statements
_SPOILT = {"25006", "26000", "42P05", "0A000"}
#: a table, column, index, schema or function does not exist (yet)
_NOT_UPGRADED = {"42P01", "42703", "42704", "42883", "42P10", "3F000"}
_MISSING_IN_SQLITE = ("no such table", "no such column", "has no column named", "ON CONFLICT clause does not match")
_UPGRADE = "the ledger's tables are missing or outdated: run `darkroom db upgrade`"
#: rejected because of the user, the database, or a custom trigger
_PERSON_CLASSES = {"0P", "28", "3D", "P0"}
_NO_RIGHT = "42501"

_LATER_IN_SQLITE = {
    sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_SCHEMA, sqlite3.SQLITE_INTERRUPT,
    sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_INTERNAL, sqlite3.SQLITE_PERM,
}  # fmt: skip
_PERSON_IN_SQLITE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_AUTH}

#: unique values that two transactions may write concurrently although each checked first, or two rows of one
#: transaction; checking again shows the conflict
_RACE = ("uq_attempts_provider_task_id", "failed: attempts.provider, attempts.task_id")


class RowsChanged(LedgerUnavailable):
    """Another transaction changed rows after they were read. The operation may succeed after reading them again."""


@contextmanager
def translated_errors() -> Iterator[None]:
    """Raise LedgerUnavailable for transient errors, and LedgerUnfit for errors that a person has to fix.

    Errors of the statement or its rows pass unchanged.
    """
    try:
        yield
    except OSError as error:
        raise LedgerUnavailable(f"the ledger cannot be opened: {error.strerror}: {error.filename}") from error
    except PoolTimeout as error:
        raise LedgerUnavailable("no connection to the ledger was free in time") from error
    except DBAPIError as error:
        translated = _translated(error)
        if translated is None:
            raise
        raise translated from error


def sqlstate(error: BaseException | None) -> str | None:
    """Return PostgreSQL's SQLSTATE from the driver's or the wrapped error; None if there is none."""
    while error is not None:
        if found := getattr(error, "sqlstate", None):
            return str(found)
        error = getattr(error, "orig", None) or error.__cause__
    return None


def forget_spoilt(context: ExceptionContext) -> None:
    """Close a connection, and others of the same age, if only a new one can help."""
    if sqlstate(context.original_exception) in _SPOILT:
        context.is_disconnect = True


def _translated(error: DBAPIError) -> LedgerUnavailable | ConfigurationError | None:
    line = str(error.orig).strip().partition("\n")[0]
    if any(sign in str(error.orig) for sign in _RACE):
        return RowsChanged("another attempt was given the same task_id at the same time")
    state = sqlstate(error.orig)
    if state is None:
        return _without_sqlstate(error, line)
    if state in _NOT_UPGRADED:
        return LedgerUnfit(_UPGRADE)
    if state == _NO_RIGHT or state[:2] in _PERSON_CLASSES:
        advice = "grant that right to its user" if state == _NO_RIGHT else "check DATABASE_URL"
        return LedgerUnfit(f"the ledger cannot be used: {line}; {advice}")
    if state in _SPOILT or state[:2] in _LATER_CLASSES:
        return LedgerUnavailable(f"the ledger cannot be used now: {line}")
    return None


def _without_sqlstate(error: DBAPIError, line: str) -> LedgerUnavailable | ConfigurationError | None:
    """Translate an error from SQLite, or from a PostgreSQL connection that was refused or lost."""
    code = getattr(error.orig, "sqlite_errorcode", None)
    # The higher bits are the extended code, which is not needed here.
    primary = None if code is None else code & 0xFF
    if any(sign in line for sign in _MISSING_IN_SQLITE):
        return LedgerUnfit(_UPGRADE)
    if primary in _PERSON_IN_SQLITE or (primary is None and type(error) is DatabaseError):
        return LedgerUnfit(f"the ledger cannot be used: {line}; check DATABASE_URL")
    if primary in _LATER_IN_SQLITE or (primary is None and isinstance(error, OperationalError)):
        return LedgerUnavailable(f"the ledger cannot be used now: {line}")
    if error.connection_invalidated:
        return LedgerUnavailable(f"the connection to the ledger was lost: {line}")
    return None
