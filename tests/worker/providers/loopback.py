"""An HTTP server on loopback that answers as told, also with what no library would send, and counts what reaches it."""

import json
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl

from tests.patience import patient

Behaviour = Callable[["Loopback", socket.socket], None]


def _read_body(head: bytes, body: bytes) -> Any:
    return dict(parse_qsl(body.decode())) if b"form-urlencoded" in head else json.loads(body)


class Loopback:
    """Each connection gets the next behaviour; the last one is for all that follow."""

    def __init__(self, *behaviours: Behaviour, tls: ssl.SSLContext | None = None) -> None:
        self._behaviours = list(behaviours)
        self._tls = tls
        self.connections = 0
        self.requests: list[bytes] = []
        self.stopping = threading.Event()
        #: set when a client ends a connection that was kept open for it
        self.was_left = threading.Event()
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stopping.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(patient(5))

    @property
    def bodies(self) -> list[Any]:
        """The bodies of the requests: JSON, or the last value of each field of a form."""
        return [_read_body(*request.split(b"\r\n\r\n", 1)) for request in self.requests]

    def read_request(self, connection: socket.socket) -> bool:
        """Read one request and remember it; False if the client has gone."""
        data = b""
        while b"\r\n\r\n" not in data:
            if not (piece := connection.recv(65536)):
                return False
            data += piece
        head, _, body = data.partition(b"\r\n\r\n")
        _, stated, length_and_rest = head.lower().partition(b"content-length:")
        length = int(length_and_rest.split()[0]) if stated else 0
        while len(body) < length:
            body += connection.recv(65536)
        self.requests.append(head + b"\r\n\r\n" + body)
        return True

    def _start(self, target: Callable[..., None], *args: Any) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            behave = self._behaviours.pop(0) if len(self._behaviours) > 1 else self._behaviours[0]
            self._start(self._serve, behave, connection)

    def _serve(self, behave: Behaviour, connection: socket.socket) -> None:
        try:
            connection.settimeout(5)
            if self._tls:
                connection = self._tls.wrap_socket(connection, server_side=True)
            behave(self, connection)
        except OSError:
            pass
        finally:
            connection.close()


def reply(
    status: int = 200, body: Any = None, headers: Mapping[str, str] | None = None, *, length: int | None = None
) -> Behaviour:
    """Answer and close; `length` lies about the size of the body."""
    content = body if isinstance(body, bytes) else json.dumps({} if body is None else body).encode()
    lines = {"Content-Length": str(len(content) if length is None else length), **(headers or {})}
    head = "".join([f"HTTP/1.1 {status} Word\r\n", *(f"{name}: {value}\r\n" for name, value in lines.items()), "\r\n"])

    def behave(server: Loopback, connection: socket.socket) -> None:
        if server.read_request(connection):
            connection.sendall(head.encode() + content)

    return behave


def kept_open(body: Any) -> Behaviour:
    """Answer, ignore `Connection: close` and wait on the same connection for a request that is never answered."""
    answer = reply(200, body)

    def behave(server: Loopback, connection: socket.socket) -> None:
        answer(server, connection)
        if not server.read_request(connection):
            server.was_left.set()

    return behave


def says(raw: bytes) -> Behaviour:
    """Send these bytes as the whole reply."""

    def behave(server: Loopback, connection: socket.socket) -> None:
        if server.read_request(connection):
            connection.sendall(raw)

    return behave


def silence(server: Loopback, connection: socket.socket) -> None:
    """Take the request and never answer."""
    server.read_request(connection)
    server.stopping.wait(5)


def hang_up(server: Loopback, connection: socket.socket) -> None:
    """Take the request and close without an answer."""
    server.read_request(connection)


def reset(server: Loopback, connection: socket.socket) -> None:
    """Take the request and reset the connection."""
    server.read_request(connection)
    _reset(connection)


def reset_unread(server: Loopback, connection: socket.socket) -> None:
    """Reset the connection after the first byte; any earlier, and `connect()` itself may see it."""
    connection.recv(1)
    _reset(connection)


def drip(server: Loopback, connection: socket.socket) -> None:
    """Send an endless body, a byte at a time."""
    server.read_request(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
    while not server.stopping.wait(0.02):
        connection.sendall(b" ")


def drip_header(server: Loopback, connection: socket.socket) -> None:
    """Send an endless header line, a byte at a time."""
    server.read_request(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\nX-Drip: ")
    while not server.stopping.wait(0.02):
        connection.sendall(b"x")


def _reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def refused_port() -> int:
    """A port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
