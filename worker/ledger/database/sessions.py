"""Sets up connections to PostgreSQL, direct or through a pooler, so that no wait on them is endless.

A pooler such as PgBouncer lends a server session for one transaction. So nothing may be set at connection start (it
rejects `options`) or for the session (the next transaction has a different one), and nothing may be prepared.
"""

import select
import time

from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import InvalidatePoolError
from sqlalchemy.pool import ConnectionPoolEntry

#: for connections that are never closed: a machine that has vanished is detected after about 15 seconds
CONNECT_ARGS = {
    "connect_timeout": 5,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
}

_SETTINGS = {
    "statement_timeout": "10s",
    "lock_timeout": "3s",
    # A process that is frozen in a transaction must not block all others with its locks.
    "idle_in_transaction_session_timeout": "15s",
    # Callers rely on a row that was reported as durable.
    "synchronous_commit": "on",
    "timezone": "UTC",
}


def _set(*, local: bool) -> str:
    return ", ".join(f"set_config('{name}', '{value}', {local})" for name, value in _SETTINGS.items())


# A pooler shares sessions among clients, so it must issue its own numbers for cancelling: the number that came with the
# connection is not the session's. One round trip detects this and applies the settings that the session keeps.
_SET_UP = f"SELECT CASE WHEN pg_backend_pid() = {{pid}} THEN concat({_set(local=False)}) END"
_SET_LOCAL = f"SELECT {_set(local=True)}"
_POOLED, _USED_AT = "is_pooled", "used_at"
#: seconds after which an idle connection may have been lost unnoticed
_IDLE_SECONDS = 10.0


class Sessions:
    """Sets up each connection of an engine when it is opened, and each transaction if a pooler is detected."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._is_pooled: bool | None = None
        event.listen(engine, "connect", self._set_up)
        event.listen(engine, "checkin", _note_use)
        event.listen(engine, "checkout", self._ask_if_doubtful)
        event.listen(engine, "begin", _begin)

    @property
    def is_pooled(self) -> bool:
        """Whether the last new connection went through a pooler; opens the first connection."""
        if self._is_pooled is None:
            self._engine.connect().close()
        return bool(self._is_pooled)

    def _set_up(self, connection: DBAPIConnection, entry: ConnectionPoolEntry) -> None:
        connection.autocommit = True
        try:
            (kept,) = connection.execute(_SET_UP.format(pid=connection.info.backend_pid)).fetchone()
            connection.autocommit = False
        except BaseException:
            # The pool does not know this connection yet.
            connection.close()
            raise
        _note_use(connection, entry)
        self._is_pooled = entry.info[_POOLED] = kept is None
        if self._is_pooled:
            connection.prepare_threshold = None

    def _ask_if_doubtful(self, connection: DBAPIConnection, entry: ConnectionPoolEntry, _: object) -> None:
        """Ping the server if in doubt; `pool_pre_ping` would cost a round trip for every transaction."""
        dialect = self._engine.dialect
        is_recent = time.monotonic() - entry.info[_USED_AT] < _IDLE_SECONDS
        try:
            if is_recent and not _has_news(connection):
                return
            dialect.do_ping(connection)
        except dialect.loaded_dbapi.Error as error:
            raise InvalidatePoolError from error


def _note_use(_: object, entry: ConnectionPoolEntry) -> None:
    entry.info[_USED_AT] = time.monotonic()


def _has_news(connection: DBAPIConnection) -> bool:
    """Return whether the server has sent something unsolicited, such as the end of the connection."""
    arrived = select.poll()
    arrived.register(connection.fileno(), select.POLLIN)
    return bool(arrived.poll(0))


def _begin(connection: Connection) -> None:
    if connection.info[_POOLED]:
        connection.exec_driver_sql(_SET_LOCAL)
