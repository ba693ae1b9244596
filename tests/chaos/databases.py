"""The ledger's database, of either kind, and the worst that can happen to it without losing its disk."""

import sqlite3
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Protocol

from tests import postgres

#: longer than a writer of the ledger waits (`worker.ledger.database.BUSY_SECONDS`)
LOCKED_SECONDS = 12.0


class Database(Protocol):
    url: str

    def hurt(self) -> None: ...


class Sqlite:
    """A file does not restart. The nearest thing: somebody else holds its lock for longer than anybody waits."""

    def __init__(self, file: Path) -> None:
        self.url = f"sqlite:///{file}"
        self._file = file

    def hurt(self) -> None:
        with closing(sqlite3.connect(self._file, timeout=30, isolation_level=None)) as connection:
            connection.execute("BEGIN EXCLUSIVE")
            time.sleep(LOCKED_SECONDS)
            connection.execute("ROLLBACK")


class PostgreSql:
    """A server of its own, since it is restarted: every client is cut, as after a crash."""

    def __init__(self, server: postgres.OwnServer) -> None:
        self.url = server.url("chaos")
        self._server = server
        server.create("chaos")

    def hurt(self) -> None:
        self._server.restart()


@contextmanager
def database(kind: str, folder: Path) -> Iterator[Database]:
    if kind == "sqlite":
        yield Sqlite(folder / "ledger.sqlite3")
        return
    binaries = postgres.bundled_binaries()
    if binaries is None:
        sys.exit("there is no PostgreSQL that may be restarted: install the extra `dev`")
    with postgres.running_server(binaries) as server:
        yield PostgreSql(server)
