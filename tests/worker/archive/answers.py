"""A store on loopback that gives the answers it was told to."""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler

from tests.serving import HttpServer, at_work


@dataclass(frozen=True)
class Answer:
    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


SLOW_DOWN = Answer(503, b"<Error><Code>SlowDown</Code></Error>")


class Answers(HttpServer):
    """A store that gives the answers it was told to, one a request; None breaks the connection.

    The success of a put has an ETag as Amazon gives it, unless it has a body.
    """

    daemon_threads = False

    def __init__(self, *answers: Answer | None) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers = list(answers)
        self.lines: list[str] = []
        self.headers: list[Mapping[str, str]] = []
        self.bodies: list[bytes] = []

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Answers

    def do_PUT(self) -> None:
        self.server.lines.append(self.requestline)
        self.server.headers.append({name.lower(): value for name, value in self.headers.items()})
        self.server.bodies.append(self.rfile.read(int(self.headers.get("Content-Length", 0))))
        answer = self.server.answers.pop(0)
        self.close_connection = True
        if answer is None:
            return
        self.send_response(answer.status)
        defaults = {"Content-Length": str(len(answer.body))}
        if self.command == "PUT" and answer.status == 200 and not answer.body:
            defaults["ETag"] = f'"{hashlib.md5(self.server.bodies[-1]).hexdigest()}"'
        for name, value in {**defaults, **answer.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer.body)

    do_HEAD = do_GET = do_POST = do_DELETE = do_PUT  # noqa: N815 (the base class looks for these names)

    def log_message(self, *args: object) -> None:
        pass


@contextmanager
def answering(*answers: Answer | None) -> Iterator[Answers]:
    with at_work(Answers(*answers)) as server:
        yield server
