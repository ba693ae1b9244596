"""One POST to a subscriber that may do anything: it ends in time, goes nowhere else, and only its status counts."""

import socket
import time
from pathlib import Path
from typing import Any

import pytest

from tests.patience import patient
from tests.worker.providers import loopback
from tests.worker.providers.loopback import Loopback, drip, hang_up, refused_port, reply, reset, says, silence
from tests.worker.providers.test_http import tls_server
from worker.subscribers import posting
from worker.subscribers.posting import Line, Refusal

TOKEN = "hunter2hunter2"


@pytest.fixture(autouse=True)
def in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(posting, "PATIENCE", patient(0.3))


def post(url: str) -> Refusal | None:
    with Line(f"{url}/{TOKEN}?key={TOKEN}") as line:
        return line.post(b'{"type":"x"}', {"webhook-id": "evt_1"}).refusal


def test_what_is_taken_arrives_as_it_is():
    with Loopback(reply(204, b"")) as server:
        assert post(server.url) is None
    (request,) = server.requests
    head, body = request.split(b"\r\n\r\n")
    assert head.startswith(f"POST /{TOKEN}?key={TOKEN} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n".encode())
    assert b"webhook-id: evt_1" in head
    assert body == b'{"type":"x"}'


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_every_status_of_success_counts(status: int):
    with Loopback(reply(status)) as server:
        assert post(server.url) is None


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (400, "HTTP 400"),
        (404, "HTTP 404"),
        (500, "HTTP 500"),
        (503, "HTTP 503"),
    ],
)
def test_every_other_status_is_a_refusal(status: int, reason: str):
    with Loopback(reply(status, {"error": TOKEN})) as server:
        assert post(server.url) == Refusal(reason)


def test_410_asks_not_to_be_tried_again():
    with Loopback(reply(410)) as server:
        assert post(server.url) == Refusal("it accepts no more events (HTTP 410)", final=True)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed(status: int):
    with Loopback(reply()) as elsewhere, Loopback(reply(status, headers={"Location": elsewhere.url})) as server:
        refusal = post(server.url)
    assert refusal is not None
    assert f"HTTP {status}: redirects are not followed" in refusal.reason
    assert elsewhere.connections == 0


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        (silence, "no response within 15 seconds"),
        (hang_up, "it closed the connection without a response"),
        (reset, "it closed the connection without a response"),
        (says(b"220 smtp.example ESMTP\r\n"), "its response is not valid HTTP (BadStatusLine)"),
    ],
)
def test_what_is_no_answer_is_a_refusal_in_words(behaviour: loopback.Behaviour, reason: str):
    with Loopback(behaviour) as server:
        assert post(server.url) == Refusal(reason)
        assert server.connections == 1


def test_nobody_listens():
    assert post(f"http://127.0.0.1:{refused_port()}") == Refusal("it refuses the connection")


def test_a_header_that_drips_in_ends_in_time():
    def dripping(server: Loopback, connection: socket.socket) -> None:
        server.read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\n")
        # A header is one of a hundred at most.
        while not server.stopping.wait(posting.PATIENCE / 10):
            connection.sendall(b"X-Drip: 1\r\n")

    with Loopback(dripping) as server:
        assert post(server.url) == Refusal("no response within 15 seconds")


def test_the_time_it_takes_to_connect_is_no_time_of_the_answer(monkeypatch: pytest.MonkeyPatch):
    connect = posting._Guard.connect

    def slowly(*arguments: Any, **times: Any) -> Any:
        time.sleep(posting.PATIENCE * 1.2)
        return connect(*arguments, **times)

    monkeypatch.setattr(posting._Guard, "connect", slowly)
    with Loopback(reply(204, b"")) as server:
        assert post(server.url) is None


def test_a_body_that_never_ends_is_not_waited_for():
    with Loopback(drip) as server:
        assert post(server.url) is None


def test_a_connection_is_kept_for_the_next_event():
    def three_times(server: Loopback, connection: socket.socket) -> None:
        for _ in range(3):
            server.read_request(connection)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    with Loopback(three_times) as server, Line(server.url) as line:
        assert [line.post(b"{}", {}).refusal for _ in range(3)] == [None] * 3
        assert server.connections == 1


def test_a_kept_connection_that_was_given_up_is_replaced_by_a_fresh_one():
    def once_then_gone(server: Loopback, connection: socket.socket) -> None:
        server.read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    with Loopback(once_then_gone) as server, Line(server.url) as line:
        assert [line.post(b"{}", {}).refusal for _ in range(3)] == [None] * 3
        assert (server.connections, len(server.requests)) == (3, 3)


def test_a_certificate_that_nobody_vouches_for_is_refused(tmp_path: Path):
    with Loopback(reply(), tls=tls_server(tmp_path)) as server:
        refusal = post(server.url)
    assert refusal is not None
    assert refusal.reason.startswith("its certificate is not valid: ")
    assert server.requests == []


def test_plain_http_to_a_name_that_leads_outside_is_not_sent(monkeypatch: pytest.MonkeyPatch):
    outside = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("93.184.216.34", 80))]
    monkeypatch.setattr(posting.socket, "getaddrinfo", lambda *_, **__: outside)
    refusal = post("http://hooks.example.com")
    assert refusal is not None
    assert "its name resolves to a public address, where plain http is not allowed" in refusal.reason


def test_a_name_that_nobody_knows(monkeypatch: pytest.MonkeyPatch):
    def unknown(*_, **__):
        raise socket.gaierror(-2, f"Name or service not known: {TOKEN}")

    monkeypatch.setattr(posting.socket, "getaddrinfo", unknown)
    assert post("https://hooks.example.com") == Refusal("its host name cannot be resolved")


def test_a_certificate_of_an_authority_that_the_setting_names_is_accepted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    with Loopback(reply(), tls=tls_server(tmp_path)) as server:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "cert.pem"))
        posting._tls.cache_clear()
        try:
            assert post(server.url) is None
        finally:
            posting._tls.cache_clear()
    assert len(server.requests) == 1
