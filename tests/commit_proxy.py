"""A TCP proxy before PostgreSQL that says what becomes of each COMMIT, the one step whose outcome a client may miss."""

import select
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from enum import Enum, auto

from sqlalchemy import make_url

#: a COMMIT as a client sends it (a simple query of 11 bytes), and how the server says that it is done
_ASKED, _DONE = b"Q\x00\x00\x00\x0bCOMMIT\x00", b"COMMIT\x00"


class Fate(Enum):
    PASSED = auto()
    #: the connection breaks before the server has seen it
    LOST_BEFORE = auto()
    #: the server commits, and the connection breaks before the client hears of it
    LOST_AFTER = auto()
    #: the server commits, and the client never hears of it
    UNANSWERED = auto()


class CommitProxy:
    """`url` leads through it to the database of `server_url`. `on_commit` is asked at each COMMIT.

    Connections wait while `is_open` is not set.
    """

    def __init__(self, server_url: str) -> None:
        server = make_url(server_url)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._where = str(server.query.get("host") or server.host or "127.0.0.1"), server.port or 5432
        direct = server.set(host="127.0.0.1", port=self._listener.getsockname()[1], query={})
        self.url = direct.render_as_string(hide_password=False)
        self.on_commit: Callable[[], Fate] = lambda: Fate.PASSED
        self.is_open = threading.Event()
        self.is_open.set()
        self._closed = threading.Event()
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def close(self) -> None:
        self._closed.set()
        self.is_open.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._threads.append(threading.Thread(target=self._serve, args=(client,)))
                self._threads[-1].start()

    def _serve(self, client: socket.socket) -> None:
        with closing(client):
            self.is_open.wait()
            if self._closed.is_set():
                return
            # Whoever breaks off, breaks off with both sides.
            with closing(self._connect()) as server, suppress(OSError):
                while not self._closed.is_set():
                    for ready in select.select([client, server], [], [], 0.1)[0]:
                        said = ready.recv(65536)
                        if not said or (ready is client and said.endswith(_ASKED) and self._is_lost(said, server)):
                            return
                        (server if ready is client else client).sendall(said)

    def _is_lost(self, asked: bytes, server: socket.socket) -> bool:
        fate = self.on_commit()
        if fate in {Fate.PASSED, Fate.LOST_BEFORE}:
            return fate is Fate.LOST_BEFORE
        server.sendall(asked)
        answer = b""
        while _DONE not in answer:
            answer += server.recv(65536)
        if fate is Fate.UNANSWERED:
            self._closed.wait()
        return True

    def _connect(self) -> socket.socket:
        host, port = self._where
        if not host.startswith("/"):
            return socket.create_connection((host, port))
        server = socket.socket(socket.AF_UNIX)
        server.connect(f"{host}/.s.PGSQL.{port}")
        return server


@contextmanager
def commit_proxy(server_url: str) -> Iterator[CommitProxy]:
    proxy = CommitProxy(server_url)
    try:
        yield proxy
    finally:
        proxy.close()
