"""A server of the standard library at work while a test is."""

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import ThreadingHTTPServer  # noqa: TID251 - the only place
from socketserver import BaseServer
from threading import Thread
from typing import TypeVar

Serving = TypeVar("Serving", bound=BaseServer)


class HttpServer(ThreadingHTTPServer):
    """A server that queues as many connections as the tests open at once.

    Its base class queues 5; on a busy machine the kernel drops those beyond, even after their requests were sent.
    """

    request_queue_size = 128


@contextmanager
def at_work(server: Serving) -> Iterator[Serving]:
    """In a thread of its own; closed at the end."""
    with server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
