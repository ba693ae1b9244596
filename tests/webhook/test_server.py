"""The receiver under its real server, treated badly."""

import http.client
import select
import signal
import socket
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import psutil
import pytest

from tests.patience import patient
from tests.webhook.receiving import new_attempt, path_of, rows, until
from tests.webhook.serving import KEYS, Served, served, valkey
from webhook.callbacks import LARGEST_BODY
from worker.embedded.machine import procfile_commands
from worker.ledger import Ledger

pytestmark = pytest.mark.processes

NEEDLESS = {"KIE_API_KEY": "provider-secret", "AWS_SECRET_ACCESS_KEY": "bucket-secret", "MJPROXY_API_SECRET_FILE": "/x"}


def request(port: int, method: str, path: str, body: bytes | None = None, **headers: str) -> int:
    """The status."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=patient(10))
    try:
        connection.request(method, path, body, headers)
        with connection.getresponse() as response:
            response.read()
            return response.status
    finally:
        connection.close()


def post(server: Served, path: str, body: bytes = b'{"task_id": "t1"}') -> int:
    return request(server.port, "POST", path, body)


def post_20_at_once(server: Served) -> None:
    """Waiting for the broker, each of them would take seconds."""
    statuses: list[int] = []

    def post_them() -> None:
        statuses.extend(post(server, path_of(new_attempt())) for _ in range(20))

    posting = threading.Thread(target=post_them, daemon=True)
    posting.start()
    posting.join(patient(15))
    assert statuses == [200] * 20


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, migrated_file: Path) -> Iterator[Served]:
    """One on SQLite whose broker refuses every connection."""
    with served(f"sqlite:///{migrated_file}", **NEEDLESS) as server:
        yield server


def test_its_processes_keep_no_secret_that_they_do_not_need(server: Served) -> None:
    for process in (psutil.Process(server.process.pid), *server.workers()):
        known = process.environ()
        assert NEEDLESS.keys().isdisjoint(known)
        assert known["DARKROOM_SIGNING_KEYS"] == KEYS


def test_a_broker_that_refuses_does_not_delay_callbacks(server: Served) -> None:
    post_20_at_once(server)


def test_a_body_sent_in_pieces_is_kept_whole(server: Served, migrated_file: Path) -> None:
    attempt = new_attempt()
    with socket.create_connection(("127.0.0.1", server.port), timeout=patient(10)) as connection:
        head = f"POST {path_of(attempt)} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
        for piece in (head.encode(), b'4\r\n{"a"\r\n', b"4\r\n: 1}\r\n", b"0\r\n\r\n"):
            connection.sendall(piece)
            time.sleep(0.05)
        assert connection.recv(100).startswith(b"HTTP/1.1 200 ")
    ledger = Ledger(f"sqlite:///{migrated_file}")
    assert [row.body for row in rows(ledger) if row.attempt_id == attempt] == [b'{"a": 1}']
    ledger.close()


def test_whoever_sends_too_much_hears_so_although_they_still_send(server: Served) -> None:
    too_much = b"x" * 4 * LARGEST_BODY
    assert {post(server, path_of(new_attempt()), too_much) for _ in range(50)} == {413}


@pytest.mark.parametrize("end", [b"zz\r\n", b"", b"20\r\n{"])
def test_chunks_that_break_are_400_or_nothing_and_leave_nothing(
    server: Served, migrated_file: Path, end: bytes
) -> None:
    attempt = new_attempt()
    head = f"POST {path_of(attempt)} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=patient(10)) as connection:
        connection.sendall(head.encode() + b'14\r\n{"task_id": "t1", "u\r\n' + end)
        connection.shutdown(socket.SHUT_WR)
        answer = connection.recv(100)
    assert not answer or answer.startswith(b"HTTP/1.1 400 ")
    # It is answered after it is stored, and by the same process: whatever comes later is stored later.
    assert [post(server, path_of(new_attempt())) for _ in range(4)] == [200] * 4
    ledger = Ledger(f"sqlite:///{migrated_file}")
    assert attempt not in {row.attempt_id for row in rows(ledger)}
    ledger.close()


def test_clients_that_never_say_what_they_want_are_let_go_after_five_seconds(server: Served) -> None:
    with ExitStack() as stack:
        clients = []
        for first in (b"", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"POST / HTTP/1.1\r\nX-Slow: "):
            client = socket.create_connection(("127.0.0.1", server.port), timeout=patient(15))
            clients.append(stack.enter_context(client))
            client.sendall(first)
        for client in clients:
            with suppress(ConnectionResetError):
                while client.recv(1000):
                    pass


def test_with_few_open_files_it_takes_fewer_connections_and_stays_well(sqlite_url: str) -> None:
    with served(sqlite_url, command=f"ulimit -n 200; {procfile_commands()['web']}") as server:
        with ExitStack() as stack:
            clients: list[socket.socket] = []

            def accepted_of_250() -> int:
                # Whoever says nothing is let go after five seconds, which a slow machine takes to count; others come.
                for gone in select.select(clients, [], [], 0)[0]:
                    clients.remove(gone)
                    gone.close()
                while len(clients) < 250:
                    client = socket.create_connection(("127.0.0.1", server.port), timeout=patient(10))
                    clients.append(stack.enter_context(client))
                return server.accepted()

            until(lambda: accepted_of_250() == 200)
        assert post(server, path_of(new_attempt())) == 200


def test_a_sender_that_hangs_up_in_the_middle_leaves_nothing(server: Served, migrated_file: Path) -> None:
    attempt = new_attempt()
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(f"POST {path_of(attempt)} HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\nhalf".encode())
        time.sleep(0.1)
    time.sleep(0.2)
    ledger = Ledger(f"sqlite:///{migrated_file}")
    assert attempt not in {row.attempt_id for row in rows(ledger)}
    ledger.close()


def test_a_frozen_broker_delays_neither_callbacks_nor_readyz(tmp_path: Path, sqlite_url: str) -> None:
    (tmp_path / "broker").mkdir()
    with valkey(tmp_path / "broker") as (redis_url, broker), served(sqlite_url, redis_url=redis_url) as server:
        assert post(server, path_of(new_attempt())) == 200
        time.sleep(0.3)  # so that the connection to the broker stands
        broker.send_signal(signal.SIGSTOP)
        try:
            post_20_at_once(server)
            assert request(server.port, "GET", "/readyz") == 200
        finally:
            broker.send_signal(signal.SIGCONT)


def test_what_was_acknowledged_is_there_after_kill_9(database_url: str) -> None:
    acknowledged: set[str] = set()
    over = threading.Event()

    def send(server: Served) -> None:
        while not over.is_set():
            attempt = new_attempt()
            try:
                if post(server, path_of(attempt)) == 200:
                    acknowledged.add(attempt)
            except (OSError, http.client.HTTPException):
                time.sleep(0.01)

    with served(database_url) as server:
        senders = [threading.Thread(target=send, args=(server,)) for _ in range(8)]
        for sender in senders:
            sender.start()
        try:
            for _ in range(2):
                time.sleep(0.7)
                # One of them lives on, so that there is somebody to be served by.
                server.workers()[0].kill()
            time.sleep(0.5)
            everyone = [psutil.Process(server.process.pid), *server.workers()]
            for process in everyone:
                process.kill()
        finally:
            over.set()
            for sender in senders:
                sender.join()

    ledger = Ledger(database_url)
    kept = [row.attempt_id for row in rows(ledger)]
    ledger.close()
    assert len(acknowledged) > 50
    assert acknowledged <= set(kept)
    assert len(kept) == len(set(kept))


def test_a_stop_under_load_answers_what_it_has_taken(sqlite_url: str) -> None:
    """SIGTERM is how a new release begins: no sender may lose a callback over it."""
    answers: list[int] = []
    with served(sqlite_url) as server, ExitStack() as stack:
        connections = [
            stack.enter_context(closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=patient(10))))
            for _ in range(8)
        ]
        for connection in connections:
            connection.connect()
        until(lambda: server.accepted() == 8)
        for connection in connections:
            connection.request("POST", path_of(new_attempt()), b"{}")
        # A request that still waits in the kernel is refused by a stop, as a new connection is.
        until(lambda: server.unread() == 0)
        server.process.terminate()
        for connection in connections:
            with connection.getresponse() as response:
                answers.append(response.status)
    assert answers == [200] * 8
    ledger = Ledger(sqlite_url)
    assert len(rows(ledger)) == 8
    ledger.close()


def test_the_token_is_in_no_log_line(tmp_path: Path, sqlite_url: str) -> None:
    # Every INSERT fails in a way that nobody expects.
    database = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"))
    database.execute("CREATE TRIGGER odd BEFORE INSERT ON callbacks BEGIN SELECT RAISE(ABORT, 'odd'); END")
    database.close()
    path = path_of(new_attempt())
    log = tmp_path / "log"
    with served(sqlite_url, log=log, LOG_LEVEL="DEBUG", GRANIAN_LOG_LEVEL="debug") as server:
        statuses = [
            post(server, path),
            post(server, path[:-1] + "-"),
            post(server, path, b"x" * 300_000),
            post(server, f"/elsewhere{path}"),
            post(server, f"/{path}"),
            request(server.port, "GET", path),
        ]
    assert statuses == [503, 404, 413, 404, 404, 405]
    written = log.read_text()
    assert "IntegrityError" in written
    token = path.rpartition("/")[2]
    for secret in (token, token.partition(".")[2], KEYS.partition(":")[2], "broker-password"):
        assert secret not in written
