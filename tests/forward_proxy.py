"""A proxy on loopback, as companies have one: it opens tunnels, passes plain http on, and refuses when told to."""

import socket
import threading
from collections.abc import Mapping
from contextlib import suppress
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from tests.patience import patient


class ForwardProxy:
    """Leads each host name to a port on loopback. `answer`: what it says instead, with which it closes."""

    def __init__(self, places: Mapping[str, int] | None = None, answer: bytes | None = None) -> None:
        self.places = dict(places or {})
        self.answer = answer
        #: the header of each request that it was asked for
        self.heads: list[str] = []
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
        for thread in self._threads:
            thread.join(patient(5))

    def cut(self) -> None:
        """End all that passes through it."""
        for one in self._open:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def _start(self, target, *args) -> None:  # type: ignore[no-untyped-def]
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._open.append(client)
                self._start(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        with client, suppress(OSError):
            data = b""
            while b"\r\n\r\n" not in data:
                piece = client.recv(65536)
                if not piece:
                    return
                data += piece
            head, _, rest = data.partition(b"\r\n\r\n")
            self.heads.append(head.decode())
            if self.answer is not None:
                client.sendall(self.answer)
                return
            lines = head.decode().split("\r\n")
            method, address, version = lines[0].split(" ")
            is_tunnel = method == "CONNECT"
            parts = urlsplit(f"//{address}" if is_tunnel else address)
            with socket.create_connection(("127.0.0.1", self.places[str(parts.hostname)])) as server:
                self._open.append(server)
                if is_tunnel:
                    client.sendall(b"HTTP/1.1 200 Connection established\r\nVia: 1.1 proxy\r\n\r\n")
                else:
                    path = f"{parts.path}?{parts.query}" if parts.query else parts.path
                    passed = [line for line in lines[1:] if not line.lower().startswith("proxy-")]
                    server.sendall("\r\n".join([f"{method} {path} {version}", *passed, "", ""]).encode())
                server.sendall(rest)
                self._start(self._pump, client, server)
                self._pump(server, client)

    def _pump(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while piece := source.recv(65536):
                target.sendall(piece)
            target.shutdown(socket.SHUT_WR)
