"""A subscriber: a real HTTP server that answers as told and remembers what came, in its order."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest
from redis import Redis

from tests.serving import HttpServer, at_work
from tests.worker.subscribers.test_standard_webhooks import SECRET, verify


@dataclass
class Received:
    headers: dict[str, str]
    body: bytes
    path: str = ""

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def event(self) -> dict[str, Any]:
        return json.loads(self.body)

    @property
    def is_genuine(self) -> bool:
        return verify(SECRET, self.headers, self.body)


@dataclass
class Subscriber:
    """`answer` gives the status for the n-th request (from 0), or does something worse first."""

    url: str
    answer: Callable[[int], int] = lambda _: 204
    reply: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    received: list[Received] = field(default_factory=list)
    stopping: threading.Event = field(default_factory=threading.Event)

    @property
    def types(self) -> list[str]:
        return [one.event["type"] for one in self.received]


@contextmanager
def subscriber(answer: Callable[[int], int] = lambda _: 204) -> Iterator[Subscriber]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            listening.received.append(Received(headers, body, self.path))
            status = listening.answer(len(listening.received) - 1)
            try:
                self.send_response(status)
                for name, value in listening.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(listening.reply)))
                self.end_headers()
                self.wfile.write(listening.reply)
            except OSError:
                self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    with at_work(HttpServer(("127.0.0.1", 0), Handler)) as server:
        listening = Subscriber(f"http://127.0.0.1:{server.server_port}/hooks/token-of-the-subscriber", answer)
        try:
            yield listening
        finally:
            listening.stopping.set()


@contextmanager
def webhook_subscriber(environment: pytest.MonkeyPatch, _redis_url: str) -> Iterator[Callable[[], list[str]]]:
    """The only one, by DARKROOM_NOTIFY_URLS; the ids of what came so far."""
    with subscriber() as listening:
        environment.setenv("DARKROOM_NOTIFY_URLS", listening.url)
        environment.setenv("DARKROOM_NOTIFY_SECRET", SECRET)
        yield lambda: [one.id for one in listening.received]


@contextmanager
def task_subscriber(environment: pytest.MonkeyPatch, redis_url: str) -> Iterator[Callable[[], list[str]]]:
    """The same for a task of another Celery application, whose queue nobody serves now."""
    environment.setenv("DARKROOM_NOTIFY_TASKS", "shop.on_event@shop")
    with Redis.from_url(redis_url) as queue:
        queue.delete("shop")
        yield lambda: [json.loads(message)["headers"]["id"] for message in queue.lrange("shop", 0, -1)]
