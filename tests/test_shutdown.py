"""A worker that is told to stop gives its work back within the 5 seconds that process managers wait."""

import json
import os
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import redis
from sqlalchemy import select, text

from tests.computer import DARKROOM, eventually, family_of, is_alive
from tests.factories import PLENTY, PROVIDER, queued, submitted
from worker.celery import app
from worker.draining import LEASE
from worker.embedded import procfile_commands
from worker.generation import Link, Outcome, State, Status
from worker.ledger import Ledger
from worker.ledger.outcomes import News
from worker.ledger.tables import SENDING, assets, attempts
from worker.servers import Server, broker

pytestmark = [pytest.mark.processes, pytest.mark.timeout(60)]

#: as many POSTs as one process of a worker sends at once
AT_ONCE = 16
GRACE = 5.0


class SlowProvider(ThreadingHTTPServer):
    """Takes every submission, and answers two of them a moment after `told`; the others, and links, never."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.seen: Counter[str] = Counter()
        self.told, self.over = threading.Event(), threading.Event()


class _Answer(BaseHTTPRequestHandler):
    server: SlowProvider

    def do_POST(self) -> None:
        prompt = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["prompt"]
        self.server.seen["POST"] += 1
        if prompt not in {"fox 0", "fox 1"}:
            self.server.over.wait(30)
            return
        self.server.told.wait(30)
        time.sleep(0.5)
        body = json.dumps({"success": True, "task_id": f"task of {prompt}"}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        self.server.seen["GET"] += 1
        self.server.over.wait(30)

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""


@pytest.fixture
def provider() -> Iterator[SlowProvider]:
    server = SlowProvider()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield server
    server.over.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def ledger(sqlite_url: str) -> Iterator[Ledger]:
    ledger = Ledger(sqlite_url)
    yield ledger
    ledger.close()


@pytest.mark.parametrize("state_of_broker", ["answers", "refuses", "frozen"])
def test_work_is_given_back_within_the_grace_of_a_process_manager(
    tmp_path: Path, ledger: Ledger, provider: SlowProvider, state_of_broker: str
) -> None:
    server = broker(tmp_path / "broker", "secret", {"PATH": os.environ["PATH"]})
    (picture,) = submitted(ledger)
    link = Link(f"{provider.url}/picture.png")
    outcome = Outcome(Status.SUCCEEDED, task_id=f"task-{picture.attempt_id[:12]}", links=(link,))
    ledger.outcomes.apply([News(picture.attempt_id, outcome, "test", (datetime(2099, 1, 1, tzinfo=UTC),))])
    made = queued(ledger, 2 * AT_ONCE)
    with started(server) as broker_process, worker(server, ledger, provider, tmp_path) as process:
        ledger.dispatching.dispatch(PROVIDER, PLENTY)
        with app.connection_for_write(server.found_by["REDIS_URL"]) as connection:
            for bell in ("submit", "archive"):
                app.send_task(bell, connection=connection)
        eventually(lambda: provider.seen == {"POST": AT_ONCE, "GET": 1}, seconds=15)
        if state_of_broker == "refuses":
            broker_process.kill()
            broker_process.wait()
        elif state_of_broker == "frozen":
            broker_process.send_signal(signal.SIGSTOP)

        family = family_of(process.pid)
        began = time.monotonic()
        # The whole group, as honcho and systemd do it, or only the one that has a number to be told by.
        tell = os.killpg if state_of_broker == "answers" else os.kill
        tell(process.pid, signal.SIGTERM)
        provider.told.set()
        assert process.wait(timeout=10) == 0, (tmp_path / "worker.log").read_text()
        assert time.monotonic() - began < GRACE
        eventually(lambda: not any(map(is_alive, family)), seconds=1)
        if state_of_broker == "answers":
            with redis.Redis.from_url(server.found_by["REDIS_URL"]) as client:
                assert client.hlen("darkroom:unacked") == 0

    states = [ledger.queries.get([one.id])[0].state for one in made]
    assert states == [State.SUBMITTED] * 2 + [State.SUBMITTING] * (AT_ONCE - 2) + [State.QUEUED] * AT_ONCE
    with ledger.database.read() as connection:
        held = connection.execute(select(assets.c.lease, assets.c.not_before)).one()
        leases = connection.execute(select(attempts.c.lease_until).where(text(SENDING))).scalars()
        assert max(leases) <= datetime.now(UTC) + LEASE
    assert held == (None, None)


@contextmanager
def started(server: Server) -> "Iterator[subprocess.Popen[bytes]]":
    child = server.child
    with subprocess.Popen(child.argv, cwd=child.cwd, env=child.env, stdout=subprocess.DEVNULL) as process:
        try:
            eventually(lambda: child.ready is None or child.ready(), seconds=10)
            yield process
        finally:
            process.kill()


@contextmanager
def worker(server: Server, ledger: Ledger, provider: SlowProvider, folder: Path) -> "Iterator[subprocess.Popen[bytes]]":
    """The Procfile's worker, in a process group of its own."""
    env = {
        "PATH": f"{DARKROOM.parent}:{os.environ['PATH']}",
        "HOME": str(folder),
        "DATABASE_URL": ledger.database.url,
        "ACEDATACLOUD_BASE_URL": provider.url,
        "ACEDATACLOUD_API_TOKEN": "any",
        "DARKROOM_SIGNING_KEYS": "k1:" + "s" * 32,
        "DARKROOM_DOWNLOAD_ALLOW": "127.0.0.1",
        **server.found_by,
    }
    command = ("/bin/sh", "-c", procfile_commands()["worker"])
    with (
        (folder / "worker.log").open("wb") as log,
        subprocess.Popen(command, env=env, stdout=log, stderr=log, start_new_session=True) as process,
    ):
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
