"""What is told to stop gives its work back within the 5 seconds that process managers wait."""

import json
import os
import signal
import socket
import sqlite3
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
import redis
from sqlalchemy import select, text

from tests.computer import DARKROOM, Computer, eventually, family_of, is_alive
from tests.factories import PLENTY, PROVIDER, queued, submitted
from tests.patience import patient
from tests.procfile import running
from tests.serving import HttpServer, at_work
from tests.webhook.receiving import new_attempt, path_of, rows
from tests.webhook.serving import KEYS
from worker.celery import app
from worker.embedded.servers import LOOPBACK, Server, broker, free_port, http_answers
from worker.generation import Link, Outcome, State, Status
from worker.ledger import Ledger
from worker.ledger.outcome import News
from worker.ledger.schema import SENDING, assets, attempts
from worker.runtime.draining import LEASE

pytestmark = [pytest.mark.system, pytest.mark.processes]

#: as many POSTs as one process of a worker sends at once
AT_ONCE = 16
GRACE = 5.0


class SlowProvider(HttpServer):
    """Takes every submission, and answers two of them a moment after `told`; the others, and links, never."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.seen: Counter[str] = Counter()
        self.counting = threading.Lock()
        self.told, self.over = threading.Event(), threading.Event()


class _Answer(BaseHTTPRequestHandler):
    server: SlowProvider

    def do_POST(self) -> None:
        prompt = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["prompt"]
        self.count("POST")
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
        self.count("GET")
        self.server.over.wait(30)

    def count(self, method: str) -> None:
        # Of two threads that count at once, one would be lost.
        with self.server.counting:
            self.server.seen[method] += 1

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""


@pytest.fixture
def provider() -> Iterator[SlowProvider]:
    with at_work(SlowProvider()) as server:
        yield server
        server.told.set()
        server.over.set()


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
    outcome = Outcome(status=Status.SUCCEEDED, task_id=f"task-{picture.attempt_id[:12]}", links=(link,))
    ledger.generations.apply_outcomes(
        [
            News(
                attempt_id=picture.attempt_id,
                outcome=outcome,
                cause="test",
                deadlines=(datetime(2099, 1, 1, tzinfo=UTC),),
            )
        ]
    )
    made = queued(ledger, 2 * AT_ONCE)
    with (
        started(server) as broker_process,
        running("worker", environment(server, ledger, provider), tmp_path) as process,
    ):
        ledger.dispatch.run(PROVIDER, PLENTY)
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
        # Before the two answers, which would let a worker that has not heard of its end begin with others.
        eventually(lambda: "Warm shutdown" in (tmp_path / "worker.log").read_text(), seconds=GRACE)
        provider.told.set()
        assert process.wait(timeout=patient(10)) == 0, (tmp_path / "worker.log").read_text()
        assert time.monotonic() - began < patient(GRACE)
        eventually(lambda: not any(map(is_alive, family)), seconds=1)
        if state_of_broker == "answers":
            with redis.Redis.from_url(server.found_by["REDIS_URL"]) as client:
                assert client.hlen("darkroom:unacked") == 0

    states = [ledger.generations.get([one.id])[0].state for one in made]
    assert states[:2] == [State.SUBMITTED] * 2
    # A POST that the end of its process breaks off may be recorded as unclear at the last moment.
    assert set(states[2:AT_ONCE]) <= {State.SUBMITTING, State.UNCONFIRMED}
    assert states[AT_ONCE:] == [State.QUEUED] * AT_ONCE
    with ledger.database.read() as connection:
        held = connection.execute(select(assets.c.lease, assets.c.not_before)).one()
        leases = connection.execute(select(attempts.c.lease_until).where(text(SENDING))).scalars()
        assert max(leases) <= datetime.now(UTC) + LEASE
    assert held == (None, None)


def test_no_process_outlives_the_grace_while_ledger_broker_provider_and_senders_hang(
    tmp_path: Path, ledger: Ledger, provider: SlowProvider
) -> None:
    server = broker(tmp_path / "broker", "secret", {"PATH": os.environ["PATH"]})
    env = environment(server, ledger, provider)
    port = int(env["PORT"])
    queued(ledger, AT_ONCE)
    with ExitStack() as stack:
        broker_process = stack.enter_context(started(server))
        names = ("web", "worker", "clock")
        processes = [stack.enter_context(running(name, env, tmp_path)) for name in names]
        eventually(lambda: http_answers(LOOPBACK, port, "/livez") and provider.seen["POST"] == AT_ONCE, seconds=20)
        lock = stack.enter_context(closing(sqlite3.connect(ledger.database.url.removeprefix("sqlite:///"))))
        lock.execute("BEGIN IMMEDIATE")
        # The clock writes every second, so it is the one that SQLite lets wait; the others wait behind it.
        time.sleep(1.5)
        half = stack.enter_context(socket.create_connection((LOOPBACK, port)))
        half.sendall(f"POST {path_of(new_attempt())} HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhalf".encode())
        whole = stack.enter_context(socket.create_connection((LOOPBACK, port), timeout=patient(10)))
        whole.sendall(f"POST {path_of(new_attempt())} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{{}}".encode())
        time.sleep(0.2)
        broker_process.send_signal(signal.SIGSTOP)

        family = [member for process in processes for member in family_of(process.pid)]
        began = time.monotonic()
        for process in processes:
            process.send_signal(signal.SIGTERM)
        # Whoever is impatient changes nothing.
        time.sleep(0.5)
        for process in processes:
            os.killpg(process.pid, signal.SIGINT)
        took = {}
        for name, process in zip(names, processes, strict=True):
            process.wait(timeout=patient(20))
            took[name] = time.monotonic() - began
        assert max(took.values()) < patient(GRACE), took
        eventually(lambda: not any(map(is_alive, family)), seconds=1)
        # Not acknowledged, so it is sent again.
        with suppress(ConnectionResetError):
            assert not whole.recv(100).startswith(b"HTTP/1.1 200")
        broker_process.send_signal(signal.SIGCONT)
        with redis.Redis.from_url(server.found_by["REDIS_URL"]) as client:
            assert client.hlen("darkroom:unacked") == 0
    assert rows(ledger) == []


def test_ctrl_c_ends_the_whole_machine_and_leaves_nobody(tmp_path: Path, provider: SlowProvider) -> None:
    computer = Computer(tmp_path)
    computer.env |= {"ACEDATACLOUD_BASE_URL": provider.url, "DARKROOM_SIGNING_KEYS": KEYS}
    with computer.up(stop=signal.SIGINT) as up:
        assert computer.darkroom("submit", "a fox").returncode == 0
        eventually(lambda: provider.seen["POST"] == 1, seconds=15)
        half = socket.create_connection((LOOPBACK, computer.port))
        half.sendall(f"POST {path_of(new_attempt())} HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhalf".encode())
        again = threading.Timer(0.5, os.kill, (up["pid"], signal.SIGINT))
        again.start()
        began = time.monotonic()
    # The processes have their grace, and after them the servers.
    assert time.monotonic() - began < patient(GRACE + 2)
    again.join()
    half.close()
    assert computer.processes() == []


@contextmanager
def started(server: Server) -> "Iterator[subprocess.Popen[bytes]]":
    child = server.child
    with subprocess.Popen(child.argv, cwd=child.cwd, env=child.env, stdout=subprocess.DEVNULL) as process:
        try:
            eventually(lambda: child.ready is None or child.ready(), seconds=10)
            yield process
        finally:
            process.kill()


def environment(server: Server, ledger: Ledger, provider: SlowProvider) -> dict[str, str]:
    return {
        "PATH": f"{DARKROOM.parent}:{os.environ['PATH']}",
        "DATABASE_URL": ledger.database.url,
        "ACEDATACLOUD_BASE_URL": provider.url,
        "ACEDATACLOUD_API_TOKEN": "any",
        "DARKROOM_SIGNING_KEYS": KEYS,
        "DARKROOM_DOWNLOAD_ALLOW": LOOPBACK,
        "HOST": LOOPBACK,
        "PORT": str(free_port()),
        "API_PORT": str(free_port()),
        **server.found_by,
    }
