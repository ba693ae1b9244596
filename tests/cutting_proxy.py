"""A proxy before PostgreSQL that cuts a connection at a chosen statement, whose outcome its client then cannot know.

Or it passes nothing on any more and closes nothing, as after a fail-over of which nobody told the clients.
"""

import select
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import StrEnum
from types import TracebackType
from typing import Self

from sqlalchemy import URL, make_url

from tests.patience import patient

#: requests that come before the protocol itself, and are answered with one byte: SSL and GSSAPI encryption
_BEFORE_START = {80877103, 80877104}
_LENGTH = struct.Struct("!i")


class Cut(StrEnum):
    #: the server has done what the statement says, and its answer never comes
    COMMITTED = "committed"
    #: the statement never comes to the server
    LOST = "lost"
    #: the client is cut at once, and the server gets the statement when `release` is called
    LATE = "late"


class CuttingProxy:
    def __init__(self, url: str) -> None:
        """`url`: of the server behind it, on a host or in the folder of its Unix socket."""
        self._target = make_url(url)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._armed: tuple[Cut, bytes] | None = None
        self._released = threading.Event()
        #: whether what was armed has happened
        self.has_cut = threading.Event()
        self._silences = 0
        #: new connections get no answer either
        self.is_deaf = False
        self._over = threading.Event()

    @property
    def url(self) -> str:
        port = self._listener.getsockname()[1]
        through = self._target.set(host="127.0.0.1", port=port, query={"sslmode": "disable"})
        return through.render_as_string(hide_password=False)

    def arm(self, cut: Cut, statement: str = "COMMIT") -> None:
        """Cut the next connection that sends such a statement; `statement`: how its text begins."""
        self.has_cut.clear()
        self._released.clear()
        self._armed = (cut, statement.encode())

    def disarm(self) -> None:
        self._armed = None

    def release(self) -> None:
        self._released.set()

    def silence(self) -> None:
        """From now on pass nothing on those connections that there are, and close none of them; new ones work."""
        self._silences += 1

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _: TracebackType | None
    ) -> None:
        self.release()
        self._over.set()
        # Only this wakes a thread that waits in accept().
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        silences = self._silences
        if self.is_deaf:
            with client:
                self._over.wait()
            return
        with suppress(OSError), client, _connected(self._target) as server:
            requests, answers = _Messages(starts=True), _Messages()
            while True:
                for ready in select.select([client, server], [], [])[0]:
                    data = ready.recv(65536)
                    if self._silences > silences:
                        self._over.wait()
                        return
                    if not data:
                        return
                    if ready is server:
                        client.sendall(data)
                        continue
                    cut = self._cut_at(requests.read(data))
                    if cut is not None:
                        self._end(cut, data, client, server, answers)
                        return
                    server.sendall(data)

    def _cut_at(self, messages: list[tuple[bytes, bytes]]) -> Cut | None:
        if self._armed is None:
            return None
        cut, statement = self._armed
        # A simple query is its text; to be parsed, it comes after the name that it gets.
        texts = (body if kind == b"Q" else body.partition(b"\0")[2] for kind, body in messages if kind in b"QP")
        if not any(text.startswith(statement) for text in texts):
            return None
        self._armed = None
        return cut

    def _end(self, cut: Cut, data: bytes, client: socket.socket, server: socket.socket, answers: "_Messages") -> None:
        if cut is Cut.LATE:
            client.shutdown(socket.SHUT_RDWR)
            self.has_cut.set()
            self._released.wait(patient(60))
        if cut is not Cut.LOST:
            server.sendall(data)
            # ReadyForQuery: it is done.
            while answer := server.recv(65536):
                if any(kind == b"Z" for kind, _ in answers.read(answer)):
                    break
        self.has_cut.set()


class _Messages:
    """One direction of a connection, cut into messages: (type, body). `starts`: the client's, which begins untyped."""

    def __init__(self, *, starts: bool = False) -> None:
        self._rest = b""
        self._starts = starts

    def read(self, data: bytes) -> list[tuple[bytes, bytes]]:
        self._rest += data
        messages = []
        while len(self._rest) >= (head := 4 if self._starts else 5):
            size = head - 4 + _LENGTH.unpack_from(self._rest, head - 4)[0]
            if len(self._rest) < size:
                break
            body = self._rest[head:size]
            if not self._starts:
                messages.append((self._rest[:1], body))
            elif _LENGTH.unpack_from(body)[0] not in _BEFORE_START:
                self._starts = False
            self._rest = self._rest[size:]
        return messages


@contextmanager
def _connected(target: URL) -> Iterator[socket.socket]:
    host, port = str(target.query.get("host", target.host)), target.port or 5432
    if host.startswith("/"):
        with socket.socket(socket.AF_UNIX) as server:
            server.connect(f"{host}/.s.PGSQL.{port}")
            yield server
    else:
        with socket.create_connection((host, port)) as server:
            yield server
