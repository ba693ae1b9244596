"""The distribution's PgBouncer before the PostgreSQL server of the tests, as most are set up: few sessions, shared."""

import getpass
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import make_url

from tests.postgres import Postgres
from worker.embedded.reaper import Guardian

_SETTINGS = """\
[databases]
* = {server}

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = {mode}
default_pool_size = {sessions}
logfile = {folder}/log
"""


@contextmanager
def pgbouncer(postgres: Postgres, mode: str) -> Iterator[Postgres]:
    """The same server, by way of PgBouncer; `mode` is its `pool_mode`."""
    # In session mode each of our connections keeps one for as long as it is open.
    sessions = 4 if mode == "transaction" else 40
    program = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None:
        pytest.fail("pgbouncer is not installed: `make test-system` says how")
    folder = Path(tempfile.mkdtemp(prefix="darkroom-pgbouncer-"))
    # It refuses to run as root.
    user = "nobody" if os.geteuid() == 0 else None
    if user:
        shutil.chown(folder, user)
    target = make_url(postgres.url("postgres"))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = {
        "host": target.query.get("host") or target.host or "127.0.0.1",
        "port": target.port or 5432,
        "user": target.username or getpass.getuser(),
        **({"password": target.password} if target.password else {}),
    }
    (folder / "settings").write_text(
        _SETTINGS.format(
            server=" ".join(f"{name}={value}" for name, value in server.items()),
            port=port,
            mode=mode,
            sessions=sessions,
            folder=folder,
        )
    )
    guardian = Guardian()
    try:
        process = subprocess.Popen(
            guardian.command([program, "-q", str(folder / "settings")]),
            user=user,
            cwd=folder,
            stdin=guardian.pipe,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        through = Postgres(f"postgresql://{server['user']}@127.0.0.1:{port}/postgres")
        try:
            _wait_until_ready(through, process, folder / "log")
            yield through
        finally:
            process.terminate()
            process.wait(timeout=30)
            guardian.forget(process.pid)
    finally:
        guardian.close()
        shutil.rmtree(folder)


def _wait_until_ready(through: Postgres, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            return through.execute("SELECT 1")
        except psycopg.OperationalError as error:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"PgBouncer did not start: {log.read_text()}") from error
            time.sleep(0.02)
