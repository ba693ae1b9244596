"""Caddy, as compose starts it, before the real receiver: TLS, limits, slow clients, and nothing but the receiver."""

import http.client
import socket
import ssl
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import pytest

from tests.patience import patient
from tests.system.caddy import Caddy, caddy_before
from tests.webhook.receiving import new_attempt, path_of, rows, until
from tests.webhook.serving import Served, served
from webhook.callbacks import LARGEST_BODY
from worker.embedded.servers import LOOPBACK, free_port
from worker.ledger import Ledger

pytestmark = [pytest.mark.system, pytest.mark.processes]

#: slow clients: more than Caddy keeps connections to the receiver
SLOW = 40


@pytest.fixture(scope="module")
def receiver(migrated_file: Path) -> Iterator[Served]:
    with served(f"sqlite:///{migrated_file}") as server:
        yield server


@pytest.fixture(scope="module")
def caddy(receiver: Served, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Caddy]:
    with caddy_before(receiver.port, tmp_path_factory.mktemp("caddy")) as server:
        yield server


def ask(caddy: Caddy, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, bytes]:
    connection = http.client.HTTPSConnection("localhost", caddy.port, timeout=patient(30), context=caddy.context)
    with closing(connection):
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body, {"Host": "localhost", **names})
        answer = connection.getresponse()
        return answer.status, answer.read()


def stored(database: Path, attempt: str) -> list[dict]:
    with closing(Ledger(f"sqlite:///{database}")) as ledger:
        return [row._asdict() for row in rows(ledger) if row.attempt_id == attempt]


def test_a_callback_arrives_over_tls_with_its_path_its_body_and_the_address_of_its_sender(
    caddy: Caddy, migrated_file: Path
) -> None:
    attempt = new_attempt()
    # What the sender claims of itself is not what Caddy says.
    forged = {"X_Forwarded_For": "203.0.113.9", "Content_Type": "application/json", "Referer": "https://a/secret"}
    assert ask(caddy, "POST", path_of(attempt, "kie"), b'{"task_id": "t1"}', **forged) == (200, b"")
    (row,) = stored(migrated_file, attempt)
    assert (row["provider"], row["body"]) == ("kie", b'{"task_id": "t1"}')
    assert row["headers"]["X-Forwarded-For"] == LOOPBACK


def test_a_certificate_is_needed_and_plain_http_is_sent_there(caddy: Caddy) -> None:
    with (
        pytest.raises(ssl.SSLCertVerificationError),
        socket.create_connection((LOOPBACK, caddy.port), timeout=patient(10)) as plain,
    ):
        ssl.create_default_context().wrap_socket(plain, server_hostname="localhost")
    with closing(http.client.HTTPConnection(LOOPBACK, caddy.plain_port, timeout=patient(10))) as connection:
        connection.request("GET", "/livez", headers={"Host": "localhost"})
        answer = connection.getresponse()
        assert answer.status == 308
        assert str(answer.getheader("Location")).startswith("https://localhost")


def test_nothing_but_the_receiver_is_behind_it(caddy: Caddy) -> None:
    assert ask(caddy, "GET", "/livez") == (200, b"ok")
    assert ask(caddy, "GET", "/readyz")[0] == 200
    for path in ("/", "/v1/generations", "/v1/openapi.json", "/approvals/x", "/gallery", "/metrics", "/callbacks"):
        assert ask(caddy, "GET", path) == (404, b"")
    # It reaches the receiver, which refuses it.
    assert ask(caddy, "POST", "/callbacks/kie/nonsense/token", b"{}")[0] == 404


def test_a_body_may_be_as_large_as_the_receiver_takes_and_no_larger(caddy: Caddy, migrated_file: Path) -> None:
    largest, larger = new_attempt(), new_attempt()
    assert ask(caddy, "POST", path_of(largest), b"x" * LARGEST_BODY)[0] == 200
    assert len(stored(migrated_file, largest)[0]["body"]) == LARGEST_BODY
    assert ask(caddy, "POST", path_of(larger), b"x" * (LARGEST_BODY + 1))[0] == 413
    assert stored(migrated_file, larger) == []


def test_a_body_in_chunks_has_the_same_limit(caddy: Caddy, migrated_file: Path) -> None:
    small, larger = new_attempt(), new_attempt()
    assert chunked(caddy, small, [b'{"a"', b": 1}"]) == 200
    assert stored(migrated_file, small)[0]["body"] == b'{"a": 1}'
    assert chunked(caddy, larger, [b"x" * 65536] * 5) == 413
    assert stored(migrated_file, larger) == []


def chunked(caddy: Caddy, attempt: str, pieces: list[bytes]) -> int:
    connection = http.client.HTTPSConnection("localhost", caddy.port, timeout=patient(30), context=caddy.context)
    with closing(connection):
        connection.request(
            "POST", path_of(attempt), iter(pieces), {"Transfer-Encoding": "chunked"}, encode_chunked=True
        )
        return connection.getresponse().status


def test_headers_have_a_limit(caddy: Caddy) -> None:
    # The receiver itself would take it.
    assert ask(caddy, "GET", "/livez", X_Large="x" * 32 * 1024)[0] == 431
    assert ask(caddy, "GET", "/livez", X_Small="x" * 8 * 1024)[0] == 200


@pytest.mark.parametrize(
    "begin",
    [
        b"GET /livez HTTP/1.1\r\nHost: local",
        b"POST /callbacks/kie/wrong HTTP/1.1\r\nHost: localhost\r\nContent-Length: 50\r\n\r\nhalf",
    ],
)
def test_slow_clients_without_a_token_are_cut(caddy: Caddy, begin: bytes) -> None:
    with ExitStack() as stack:
        clients = [stack.enter_context(caddy.connect()) for _ in range(SLOW)]
        for client in clients:
            client.sendall(begin)
        assert ask(caddy, "GET", "/livez") == (200, b"ok")
        # The time-out of these sockets is longer than every limit.
        assert not any(b" 200 " in rest_of(client) for client in clients)


def test_half_a_body_from_the_holder_of_a_token_leaves_the_receiver_in_time_and_nothing_in_it(
    caddy: Caddy, receiver: Served, migrated_file: Path
) -> None:
    attempts = [new_attempt() for _ in range(SLOW)]
    with ExitStack() as stack:
        for attempt in attempts:
            client = stack.enter_context(caddy.connect())
            head = f"POST {path_of(attempt)} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 50\r\n\r\n"
            client.sendall(head.encode() + b'{"a": 1}')
        until(lambda: receiver.accepted() >= SLOW)
        # At most those that Caddy keeps for others.
        until(lambda: receiver.accepted() < SLOW, seconds=20)
        assert ask(caddy, "GET", "/livez") == (200, b"ok")
    assert not any(stored(migrated_file, attempt) for attempt in attempts)


def rest_of(client: ssl.SSLSocket) -> bytes:
    said = b""
    with suppress(ConnectionResetError, ssl.SSLError):
        while piece := client.recv(1000):
            said += piece
    return said


def test_no_token_is_in_its_log_when_the_receiver_is_away(tmp_path: Path) -> None:
    attempt = new_attempt()
    with caddy_before(free_port(), tmp_path) as caddy:
        assert ask(caddy, "POST", path_of(attempt), b"{}", Referer=f"https://a{path_of(attempt)}")[0] == 502
        log = caddy.log.read_text()
    assert "connection refused" in log
    assert attempt not in log
    assert path_of(attempt).rpartition("/")[2] not in log
