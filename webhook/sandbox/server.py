"""A small threaded HTTP/1.1 server for WSGI that gives access to the socket.

Faults like a reset or a short body happen on the wire, which granian, gunicorn and werkzeug hide from applications;
werkzeug's server also closes the connection after each response.
"""

import http
import socket
import socketserver
import struct
import sys
import threading
from io import BytesIO
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer
from wsgiref.types import WSGIApplication

#: a mask in base64 may have several megabytes
LARGEST_BODY = 32 * 1024 * 1024


class Hangup(Exception):
    """Raised by a response body before its first bytes, to reset the connection without a response."""


class Connection(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    #: seconds that an idle connection is kept
    timeout = 75
    server: "Server"

    def handle(self) -> None:
        self.close_connection = True
        self.handle_one_request()
        while not self.close_connection:
            self.handle_one_request()

    def log_message(self, *_args: Any) -> None:
        """The sandbox keeps its own log."""

    def do_GET(self) -> None:  # noqa: N802
        body = self._read_body()
        if body is None:
            return
        environ = self.get_environ() | {
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": BytesIO(body),
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
            "SERVER_PROTOCOL": self.request_version,
        }
        answer: list[tuple[str, list[tuple[str, str]]]] = []

        def start_response(status: str, headers: list[tuple[str, str]], _error: object = None) -> Any:
            answer.append((status, headers))

        chunks: Any = self.server.wsgi_app(environ, start_response)
        try:
            pieces = iter(chunks)
            first = next(pieces, b"")
            promised = self._begin(*answer[-1], first)
            if self.command == "HEAD":
                return
            sent = len(first)
            for piece in pieces:
                self.wfile.write(piece)
                sent += len(piece)
            if sent != promised:
                self.close_connection = True
        except Hangup:
            self._reset()
        finally:
            if hasattr(chunks, "close"):
                chunks.close()

    do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_GET  # noqa: N815

    def _read_body(self) -> bytes | None:
        length = self.headers.get("Content-Length", "0")
        if not length.isdecimal() or "Transfer-Encoding" in self.headers:
            self.send_error(http.HTTPStatus.LENGTH_REQUIRED)
        elif int(length) > LARGEST_BODY:
            self.send_error(http.HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        else:
            return self.rfile.read(int(length))
        self.close_connection = True
        return None

    def _begin(self, status: str, headers: list[tuple[str, str]], first: bytes) -> int | None:
        """Send the head and the first piece in one packet; return the promised length."""
        promised = next((int(value) for name, value in headers if name.lower() == "content-length"), None)
        if promised is None:
            self.close_connection = True
        lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in headers)]
        lines += [
            f"Date: {self.date_time_string()}",
            f"Connection: {'close' if self.close_connection else 'keep-alive'}",
        ]
        head = "\r\n".join([*lines, "", ""]).encode("latin-1")
        self.wfile.write(head if self.command == "HEAD" else head + first)
        return promised

    def _reset(self) -> None:
        # Closing with a linger time of zero sends RST instead of FIN.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True


class Server(socketserver.ThreadingMixIn, WSGIServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 512

    def __init__(self, host: str, port: int, application: WSGIApplication) -> None:
        """Listen at once; port 0 picks a free one. Raises OSError."""
        self.wsgi_app = application
        self._open: set[socket.socket] = set()
        self._idle = threading.Condition()
        super().__init__((host, port), Connection)

    def server_bind(self) -> None:
        # HTTPServer would look up the host's name in the DNS.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])
        self.setup_environ()

    def start(self) -> None:
        threading.Thread(target=self.serve_forever, args=(0.01,), name="sandbox-server", daemon=True).start()

    def stop(self) -> None:
        """Stop replying and cut open connections."""
        self.shutdown()
        self.server_close()
        with self._idle:
            for connection in self._open:
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    continue
            self._idle.wait_for(lambda: not self._open, timeout=0.5)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._idle:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        super().shutdown_request(request)
        with self._idle:
            self._open.discard(request)
            self._idle.notify_all()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that disconnects is not an error."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)
