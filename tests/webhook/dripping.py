"""Clients that send a byte now and then and never come to an end, in their headers or in a body."""

import socket
import threading
from contextlib import suppress
from typing import Self

from tests.webhook.receiving import new_attempt, path_of

#: seconds between two bytes of one client
PAUSE = 0.5


class Drippers:
    """So many of them while the block runs, driven by one thread; who is let go by the server comes again.

    A body is only read for a valid token, so those who drip one have it.
    """

    def __init__(self, port: int, *, headers: int, bodies: int) -> None:
        kinds = [False] * headers + [True] * bodies
        self._clients = [_Client(port, in_body=in_body) for in_body in kinds]
        self._over = threading.Event()
        self._all_began = threading.Event()
        self._thread = threading.Thread(target=self._drip_on, name="drippers")

    @property
    def let_go(self) -> int:
        """How often the server has let one of them go."""
        return sum(client.let_go for client in self._clients)

    def __enter__(self) -> Self:
        self._thread.start()
        self._all_began.wait(30)
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _drip_on(self) -> None:
        try:
            while not self._over.is_set():
                for client in self._clients:
                    client.drip()
                    # The first round at once, the others evenly.
                    if self._all_began.is_set() and self._over.wait(PAUSE / len(self._clients)):
                        return
                self._all_began.set()
        finally:
            self._all_began.set()
            for client in self._clients:
                client.leave()


class _Client:
    def __init__(self, port: int, *, in_body: bool) -> None:
        self._port = port
        self._socket: socket.socket | None = None
        self.in_body = in_body
        self.let_go = 0

    def drip(self) -> None:
        try:
            if self._socket is None:
                self._begin()
            elif self._is_let_go():
                self.let_go += 1
                self.leave()
            else:
                self._socket.send(b"x")
        except OSError:
            self.leave()

    def leave(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _begin(self) -> None:
        # A server that is full lets it wait; the others go on dripping.
        self._socket = socket.create_connection(("127.0.0.1", self._port), timeout=0.1)
        self._socket.setblocking(False)
        path = path_of(new_attempt())
        end = "Content-Length: 100000\r\n\r\n" if self.in_body else "X-Slow: "
        self._socket.send(f"POST {path} HTTP/1.1\r\nHost: x\r\n{end}".encode())

    def _is_let_go(self) -> bool:
        assert self._socket is not None
        with suppress(BlockingIOError):
            # Closed, or answered: nobody was asked for anything yet.
            self._socket.recv(1000)
            return True
        return False
