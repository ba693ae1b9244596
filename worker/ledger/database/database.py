"""One database, SQLite or PostgreSQL: connections, transactions, and which of its errors mean "try again later"."""

import fcntl
import itertools
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol

from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError

from worker.errors import CommitUnknown, ConfigurationError, LedgerUnavailable, LedgerUnfit, VersionTooOld
from worker.ledger.database.compatibility import Compatibility
from worker.ledger.database.errors import forget_spoilt, translated_errors
from worker.ledger.database.server_clock import ServerClock, system_clock
from worker.ledger.database.sessions import CONNECT_ARGS, Sessions
from worker.secrets import open_private, require_private

#: how long a writer waits for others before giving up
BUSY_SECONDS = 10
_POLL_SECONDS = 0.005
# No overflow: in a burst of threads, each would open a connection and throw it away.
_POOL = {"pool_size": 8, "max_overflow": 0, "pool_timeout": BUSY_SECONDS}


#: the key of the functions to call once a connection's transaction has committed
_AFTER_COMMIT = "after_commit"


class Clock(Protocol):
    def __call__(self) -> datetime:
        """Return the current time, timezone-aware in UTC."""


class _OfThread(threading.local):
    commits = 0


class WriteGate:
    """Queues the writers of one SQLite file, across threads and processes.

    SQLite itself makes a second writer sleep and retry, so that some writers wait for most of a second under load. The
    kernel's file lock wakes the next writer at once. The lock dies with its process; the file contains the process id.
    """

    def __init__(self, database: Path) -> None:
        self._path = f"{database}.lock"
        self._thread_lock = threading.Lock()
        self._waiter = threading.Thread()

    @contextmanager
    def __call__(self) -> Iterator[None]:
        if not self._thread_lock.acquire(timeout=BUSY_SECONDS):
            raise LedgerUnavailable(f"the ledger was busy for more than {BUSY_SECONDS} seconds")
        try:
            # Opened each time: a descriptor inherited across a fork would share its lock with the other process.
            descriptor = open_private(self._path, os.O_RDWR | os.O_CREAT)
            try:
                self._lock(descriptor)
                yield
            finally:
                os.close(descriptor)
        finally:
            self._thread_lock.release()

    def _lock(self, descriptor: int) -> None:
        """Take the lock. Raises LedgerUnavailable if another process, perhaps a frozen one, holds it for too long."""
        give_up_at = time.monotonic() + BUSY_SECONDS
        while not _is_locked(descriptor):
            left = give_up_at - time.monotonic()
            if left <= 0:
                holder = os.pread(descriptor, 20, 0).decode(errors="replace").strip() or "unknown"
                raise LedgerUnavailable(
                    f"the ledger was busy for more than {BUSY_SECONDS} seconds: process {holder} is writing; "
                    "if it is stopped, resume it (kill -CONT) or end it"
                )
            if self._waiter.is_alive():
                # The thread of an earlier wait that timed out. Its descriptor is closed, so it releases the lock at
                # once. Do not start a second one.
                self._waiter.join(min(left, _POLL_SECONDS))
            else:
                # In a separate thread, because nothing can interrupt a wait for the kernel's lock.
                wait = threading.Thread(target=fcntl.flock, args=(descriptor, fcntl.LOCK_EX), name="gate", daemon=True)
                wait.start()
                self._waiter = wait
                wait.join(left)
        with suppress(OSError):  # such as a full disk: the process id only informs people
            os.pwrite(descriptor, b"%-20d" % os.getpid(), 0)


def _is_locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


class Database:
    """Transactions on the ledger, with errors translated by `translated_errors`.

    `clock` is the source of all times in the ledger and of comparisons with them. The default is the PostgreSQL
    server's clock, which all machines share, or, for SQLite, this machine's.
    """

    def __init__(self, url: str, clock: Clock | None = None) -> None:
        self.url = _checked(url)
        self.engine = _create_engine(self.url)
        event.listen(self.engine, "handle_error", forget_spoilt)
        self.is_sqlite = self.engine.dialect.name == "sqlite"
        self._sessions = None if self.is_sqlite else Sessions(self.engine)
        self.clock = clock or (system_clock if self.is_sqlite else _server_clock(self.engine))
        self._file = Path(str(self.engine.url.database)) if self.is_sqlite else None
        self._gate = None if self._file is None else WriteGate(self._file)
        self._writer = self.engine.execution_options(write=True)
        # PostgreSQL has an isolation level for this; on SQLite, not sending BEGIN is enough (`_begin_sqlite`).
        autocommit = {"alone": True} if self.is_sqlite else {"isolation_level": "AUTOCOMMIT"}
        self._alone = self.engine.execution_options(**autocommit)
        self._compatibility = Compatibility()
        self._of_thread = _OfThread()

    @contextmanager
    def write(self, *, alone: bool = False, under_way: bool = False, aside: bool = False) -> Iterator[Connection]:
        """Run one durable transaction: committed at the end of the block, rolled back if the block raises.

        `alone`: a single statement, which the database commits by itself in a third of the round trips, unless there is
        a pooler. `under_way`: the transaction only continues or ends work in progress, which even a version that is too
        old for the ledger may do. `aside`: it is not part of what a caller requested, so `commits` does not count it.
        Raises CommitUnknown if a failure leaves the commit uncertain, and VersionTooOld.
        """
        is_committing = False
        tells: list[Callable[[], None]] = []
        if self._file is not None:
            # Before the gate, which creates a file beside it.
            _require_file(self._file)
        try:
            with translated_errors(), self.gate(), self._engine(alone=alone).begin() as connection:
                if not under_way and (objection := self.objection(connection)):
                    raise objection
                connection.info[_AFTER_COMMIT] = tells
                is_committing = alone
                yield connection
                is_committing = True
        except LedgerUnavailable as error:
            if is_committing:
                raise CommitUnknown(f"{error}; the changes may have been saved") from error
            raise
        finally:
            if is_committing and not aside:
                self._of_thread.commits += 1
        for tell in tells:
            tell()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        with translated_errors(), self.engine.connect() as connection:
            yield connection

    def objection(self, connection: Connection) -> VersionTooOld | None:
        """Return why this version must not start new work on this ledger; None if it may."""
        return self._compatibility.objection(connection)

    @property
    def commits(self) -> int:
        """Return how many transactions this thread has committed, or may have committed."""
        return self._of_thread.commits

    @property
    def local_error(self) -> timedelta:
        """Return how far this machine's clock is ahead of the ledger's; zero if they are the same."""
        return self.clock.local_error if isinstance(self.clock, ServerClock) else timedelta()

    @property
    def is_pooled(self) -> bool:
        """Return whether a pooler such as PgBouncer is in use. Connects if needed, and may raise LedgerUnavailable."""
        with translated_errors():
            return self._sessions is not None and self._sessions.is_pooled

    def _engine(self, *, alone: bool) -> Engine:
        # Through a pooler, timeouts apply per transaction, so there must be one.
        return self._alone if alone and not self.is_pooled else self._writer

    def gate(self) -> AbstractContextManager[None]:
        """Return the queue of a SQLite file's writers; PostgreSQL needs none."""
        return nullcontext() if self._gate is None else self._gate()

    def make_file(self) -> None:
        """Create the SQLite file, private to its owner, if it is missing; its companion files get the same mode."""
        if self._file is not None:
            with translated_errors(), suppress(IsADirectoryError):  # SQLite reports it
                os.close(open_private(self._file, os.O_RDWR | os.O_CREAT))
            _require_our_file(self._file)

    def dispose(self) -> None:
        """Drop all connections: after a fork they belong to the parent."""
        self.engine.dispose(close=False)

    def close(self) -> None:
        """Close all connections; those in use, and any that a thread opens later, are closed when it returns them."""
        # Before `dispose`, which closes the idle connections and creates a new pool with the listeners of this one.
        event.listen(self.engine, "checkin", lambda _, entry: entry.close())
        self.engine.dispose()


def after_commit(connection: Connection, call: Callable[[], None]) -> None:
    """Call `call` once the transaction of `Database.write` on this connection has committed, and only then."""
    connection.info[_AFTER_COMMIT].append(call)


class Part:
    """The common base of the ledger's verbs."""

    def __init__(self, database: Database) -> None:
        self._database = database


def passwords_in(url: str) -> tuple[str, ...]:
    """Return the secrets in a database URL, decoded and as written; none for other texts."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        return ()
    in_query = (parsed.query.get(name) for name in ("password", "sslpassword"))
    read = [one for one in (parsed.password, *in_query) if isinstance(one, str)]
    written = re.findall(r"://[^:/]*:([^@]*)@|[?&](?:ssl)?password=([^&]*)", url)
    return tuple(filter(None, [*read, *itertools.chain.from_iterable(written)]))


def missing_file(url: str) -> Path | None:
    """Return the URL's SQLite file if it is missing. Raises ConfigurationError for an unsupported URL."""
    parsed = make_url(_checked(url))
    file = Path(str(parsed.database))
    return file if parsed.drivername == "sqlite" and not file.exists() else None


def _require_file(file: Path) -> None:
    # SQLite creates an empty file if the file to open is missing. Only `migrations.upgrade` may, with its own engine.
    if file.parent.is_dir() and not file.exists():
        raise LedgerUnfit("the ledger's file does not exist: run `darkroom db upgrade`, or correct DATABASE_URL")


def _require_our_file(file: Path) -> None:
    _require_file(file)
    for end in ("", "-wal", "-shm"):
        try:
            require_private(file.with_name(f"{file.name}{end}"))
        except OSError as error:
            raise LedgerUnfit(f"the ledger cannot be opened: {error.filename}: {error.strerror}") from error


def _checked(url: str) -> str:
    """Return the URL with the driver that we ship. Raises ConfigurationError for an unsupported database URL."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError) as error:
        raise ConfigurationError(
            "DATABASE_URL is not a database URL; write it like postgresql://user@host/name"
        ) from error
    if parsed.drivername in {"postgres", "postgresql", "postgresql+psycopg"}:
        return parsed.set(drivername="postgresql+psycopg").render_as_string(hide_password=False)
    if parsed.drivername == "sqlite" and parsed.database and parsed.database != ":memory:":
        return url
    raise ConfigurationError(
        f"DATABASE_URL names {parsed.drivername!r}; Darkroom keeps its ledger in postgresql:// or in a sqlite:/// file"
    )


def _create_engine(url: str) -> Engine:
    if url.startswith("sqlite"):
        engine = create_engine(
            url,
            hide_parameters=True,
            **_POOL,
            # Per connection; Python's default of 128 statements takes 1 MB.
            connect_args={"timeout": BUSY_SECONDS, "isolation_level": None, "cached_statements": 32},
        )
        file = Path(str(engine.url.database))
        event.listen(engine, "do_connect", lambda *_: _require_our_file(file))
        event.listen(engine, "connect", _configure_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    return create_engine(
        url,
        # Parameters include prompts and signed links; errors must not carry them into a log.
        hide_parameters=True,
        **_POOL,
        connect_args=CONNECT_ARGS,
    )


def _server_clock(engine: Engine) -> ServerClock:
    def connect() -> None:
        engine.connect().close()

    clock = ServerClock(connect)

    def measure(connection: DBAPIConnection, *_: object) -> None:
        # On a connection that is about to be used, so that no extra one has to be opened.
        if clock.is_due:
            with suppress(engine.dialect.loaded_dbapi.Error):  # the user of the connection will get it again
                clock.measure(lambda: _time_of(connection))

    event.listen(engine, "connect", lambda *_: clock.expect_another_server())
    event.listen(engine, "checkout", measure)
    return clock


def _time_of(connection: DBAPIConnection) -> datetime:
    # Outside any transaction: one round trip, and nothing is left open.
    connection.autocommit = True
    try:
        row: tuple[datetime] = connection.execute("SELECT clock_timestamp()").fetchone()
    finally:
        connection.autocommit = False
    return row[0]


def _configure_sqlite(connection: DBAPIConnection, _record: object) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    # FULL: a callback that was answered with 200 must survive a power failure.
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    # Python's own transaction handling leaves SELECT outside, which loses updates. IMMEDIATE takes the lock first.
    options = connection.get_execution_options()
    if not options.get("alone", False):
        connection.exec_driver_sql("BEGIN IMMEDIATE" if options.get("write", False) else "BEGIN")
