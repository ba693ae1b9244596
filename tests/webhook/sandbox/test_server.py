import socket
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest

from tests.patience import patient
from webhook.sandbox.server import LARGEST_BODY, Server


@contextmanager
def serving(body: Iterable[bytes], *headers: tuple[str, str]) -> Iterator[tuple[str, int]]:
    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", list(headers))
        if environ["PATH_INFO"] == "/echo":
            return [environ["wsgi.input"].read()]
        return body

    server = Server("127.0.0.1", 0, app)
    server.start()
    yield "127.0.0.1", server.server_port
    server.stop()


def spoken(address: tuple[str, int], text: bytes) -> bytes:
    """Everything that comes back until the server closes the connection."""
    with closing(socket.create_connection(address, timeout=patient(3))) as connection:
        connection.sendall(text)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
        return answer


def test_a_connection_is_kept_for_the_next_request():
    with serving([b"ok"], ("Content-Length", "2")) as address:
        get = b"GET / HTTP/1.1\r\nHost: x\r\n"
        answer = spoken(address, get + b"\r\n" + get + b"Connection: close\r\n\r\n")
    assert answer.count(b"HTTP/1.1 200 OK") == 2
    assert answer.count(b"Connection: keep-alive") == 1
    assert answer.count(b"Connection: close") == 1


def test_a_body_without_a_length_ends_with_the_connection():
    with serving([b"one", b"two"]) as address:
        answer = spoken(address, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert b"Connection: close" in answer
    assert answer.endswith(b"\r\n\r\nonetwo")


def test_a_body_that_is_shorter_than_its_length_closes_the_connection():
    with serving(iter([b"half"]), ("Content-Length", "8")) as address:
        assert spoken(address, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").endswith(b"\r\n\r\nhalf")


def test_head_is_answered_without_a_body():
    with serving([b"o", b"k"], ("Content-Length", "2")) as address:
        answer = spoken(address, b"HEAD / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert b"Content-Length: 2" in answer
    assert answer.endswith(b"\r\n\r\n")


def test_a_request_body_reaches_the_application():
    with serving([]) as address:
        answer = spoken(address, b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello")
    assert answer.endswith(b"\r\n\r\nhello")


@pytest.mark.parametrize(
    ("header", "status"),
    [
        (b"Transfer-Encoding: chunked", b" 411 "),
        (b"Content-Length: many", b" 411 "),
        (b"Content-Length: %d" % (LARGEST_BODY + 1), b" 413 "),
    ],
)
def test_bodies_that_cannot_be_read_are_refused(header: bytes, status: bytes):
    with serving([]) as address:
        assert status in spoken(address, b"POST / HTTP/1.1\r\nHost: x\r\n" + header + b"\r\n\r\n").splitlines()[0]


def test_a_client_that_leaves_makes_no_noise(capfd: pytest.CaptureFixture[str]):
    with serving([b"x" * 10_000_000], ("Content-Length", "10000000")) as address:
        for _ in range(3):
            with closing(socket.create_connection(address)) as connection:
                connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert capfd.readouterr() == ("", "")
