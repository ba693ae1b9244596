"""The ledger's database, of either kind, and the worst that can happen to it without losing its disk."""

import fcntl
import sqlite3
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Protocol

import psycopg

from tests import postgres
from tests.cutting_proxy import CuttingProxy

#: longer than a writer of the ledger waits (`worker.ledger.database.BUSY_SECONDS`)
LOCKED_SECONDS = 12.0
#: until a process that waits on a connection which fell silent is ended, and another one is at work; the last are those
#: of the pool, at their tasks' time limit
SILENT_SECONDS = 95.0


class Database(Protocol):
    """`url` is what the processes know; over `direct_url` it is reached whatever happens to them."""

    url: str
    direct_url: str

    def hurt(self) -> None: ...

    def fall_silent(self) -> None:
        """Pass nothing on connections that there are, and close none."""

    def holds_transaction(self, pid: int) -> bool:
        """Whether this process, which is stopped, has a transaction open."""


class Sqlite:
    """A file does not restart. The nearest thing: somebody else holds its lock for longer than anybody waits."""

    def __init__(self, file: Path) -> None:
        self.url = self.direct_url = f"sqlite:///{file}"
        self._file = file
        self._lock_file = Path(f"{file}.lock")

    def hurt(self) -> None:
        with closing(sqlite3.connect(self._file, timeout=30, isolation_level=None)) as connection:
            connection.execute("BEGIN EXCLUSIVE")
            time.sleep(LOCKED_SECONDS)
            connection.execute("ROLLBACK")

    def fall_silent(self) -> None:
        """A file has no connections. The nearest thing: somebody holds what its writers queue at, and does nothing."""
        with self._lock_file.open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            time.sleep(LOCKED_SECONDS)

    def holds_transaction(self, pid: int) -> bool:
        inode = self._lock_file.stat().st_ino
        # number, kind, advisory or not, READ or WRITE, pid, device:inode, from, to; those that wait have an arrow.
        locks = (line.split() for line in Path("/proc/locks").read_text().splitlines())
        return any(
            lock[1] == "FLOCK" and lock[4] == str(pid) and lock[5].rpartition(":")[2] == str(inode) for lock in locks
        )


class PostgreSql:
    """A server of its own, since it is restarted: every client is cut, as after a crash."""

    def __init__(self, server: postgres.OwnServer, proxy: CuttingProxy) -> None:
        self.url = proxy.url
        self.direct_url = server.url("chaos")
        self._server, self._proxy = server, proxy
        server.create("chaos")

    def hurt(self) -> None:
        self._server.restart()

    def fall_silent(self) -> None:
        self._proxy.silence()
        time.sleep(SILENT_SECONDS)

    def holds_transaction(self, pid: int) -> bool:
        """Whether anybody has one open in which nothing happens: of a stopped process, and of no other for long."""
        before = self._transactions("active", "idle in transaction")
        if not before:
            return False
        time.sleep(0.1)
        return not before.isdisjoint(self._transactions("idle in transaction"))

    def _transactions(self, *states: str) -> set[object]:
        query = (
            "SELECT pid, xact_start FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid() AND state = ANY(%s)"
        )
        try:
            with psycopg.connect(self.direct_url) as connection:
                return set(connection.execute(query, [list(states)]))
        except psycopg.OperationalError:  # it is being restarted
            return set()


@contextmanager
def database(kind: str, folder: Path) -> Iterator[Database]:
    if kind == "sqlite":
        yield Sqlite(folder / "ledger.sqlite3")
        return
    binaries = postgres.bundled_binaries()
    if binaries is None:
        sys.exit("there is no PostgreSQL that may be restarted: install the extra `dev`")
    with postgres.running_server(binaries) as server, CuttingProxy(server.url("chaos")) as proxy:
        yield PostgreSql(server, proxy)
