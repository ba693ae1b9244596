"""Streams under the real server: whoever leaves gives everything back, and the process still ends at once."""

import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from urllib.parse import urlsplit

import psutil
import pytest

from tests.factories import queued
from tests.patience import patient, wait_for
from tests.webhook.api.serving import served
from webhook.console.stream import MOST_STREAMS
from worker.ledger import Ledger

pytestmark = pytest.mark.processes


@contextmanager
def watched(port: int, tabs: int) -> Iterator[int]:
    """So many tabs at once; give how many of them got a stream, and not the whole board to poll."""
    with ExitStack() as opened:
        streams = 0
        for _ in range(tabs):
            tab = opened.enter_context(socket.create_connection(("127.0.0.1", port), timeout=patient(10)))
            tab.sendall(f"GET /live HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAccept: text/html\r\n\r\n".encode())
            head = tab.recv(4096)
            assert b" 200 " in head.splitlines()[0]
            streams += b"text/event-stream" in head
        yield streams


def fitting(port: int) -> int:
    with watched(port, MOST_STREAMS + 1) as streams:
        return streams


def test_two_hundred_tabs_that_are_closed_leave_nothing_behind(sqlite_url: str) -> None:
    with closing(Ledger(sqlite_url)) as ledger:
        queued(ledger, 2, batch="spring")
    with served(sqlite_url) as (url, started):
        port, process = int(urlsplit(url).port or 0), psutil.Process(started.pid)
        files = process.num_fds()
        assert fitting(port) == MOST_STREAMS
        threads = process.num_threads()
        for _ in range(200 // MOST_STREAMS):
            fitting(port)
        # Each place is free again, within two beats.
        assert wait_for(lambda: fitting(port) == MOST_STREAMS, 20, pause=4)
        assert process.num_threads() <= threads + 8
        # Connections to the ledger stay for the next who ask; there are at most 8.
        assert wait_for(lambda: process.num_fds() <= files + 8, 20)


def test_a_process_with_open_streams_ends_at_once(sqlite_url: str) -> None:
    with served(sqlite_url) as (url, process), watched(int(urlsplit(url).port or 0), 3) as streams:
        assert streams == 3
        process.send_signal(signal.SIGTERM)
        # Before the server's own patience with requests is over.
        assert process.wait(timeout=patient(2.5)) == 0
