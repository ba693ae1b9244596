"""Delivers callbacks from a small pool of threads over keep-alive connections."""

import queue
import threading
import time
from collections.abc import Callable, Mapping
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any
from urllib.parse import urlsplit

from urllib3.util.wait import wait_for_read

from webhook.sandbox.journal import Journal

THREADS = 32
#: seconds for each step of the exchange; Kie documents 15 for all of it, the others nothing
TIMEOUT = 5

_KINDS: Mapping[str, type[HTTPConnection]] = {"http": HTTPConnection, "https": HTTPSConnection}


class Callbacks:
    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._waiting: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._connections: list[HTTPConnection] = []
        self._thread = _Connections(self._connections)
        self._idle = threading.Semaphore(0)
        self._starting = threading.Lock()
        self._threads = 0

    def later(self, call: Callable[[], None]) -> None:
        """Run `call`, which makes a delivery, in one of the threads; another is started when none is idle."""
        self._waiting.put(call)
        if self._idle.acquire(blocking=False):
            return
        with self._starting:
            if self._threads < THREADS:
                self._threads += 1
                name = f"sandbox-callbacks-{self._threads}"
                # Daemons: a receiver that does not answer must not delay the shutdown.
                threading.Thread(target=self._work, name=name, daemon=True).start()

    def deliver(self, url: str, body: bytes, headers: Mapping[str, str], **facts: Any) -> int | None:
        """POST once and log the result with `facts`; return the status, or None if there was no response."""
        facts["url"] = url
        began = time.monotonic()
        try:
            status = self._thread.post(url, body, {"Content-Type": "application/json", **headers})
        except (OSError, HTTPException, ValueError) as error:
            self._journal.note("callback", **facts, error=str(error), seconds=time.monotonic() - began)
            return None
        self._journal.note("callback", **facts, status=status, seconds=time.monotonic() - began)
        return status

    def stop(self) -> None:
        for _ in range(THREADS):
            self._waiting.put(None)
        for one in self._connections:
            one.close()

    def _work(self) -> None:
        while (call := self._waiting.get()) is not None:
            call()
            self._idle.release()


class _Connections(threading.local):
    """The connections of one thread, by scheme and host. A pool shared by all threads takes 50% more CPU."""

    def __init__(self, of_all: list[HTTPConnection]) -> None:
        """`of_all` collects the connections of all threads."""
        self._of_all = of_all
        self._kept: dict[tuple[str, str], HTTPConnection] = {}

    def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> int:
        """Return the status. Raises OSError, HTTPException, and ValueError for an invalid URL."""
        address = urlsplit(url)
        connection = self._to(address.scheme, address.netloc.rpartition("@")[2])
        try:
            connection.request("POST", address._replace(scheme="", netloc="").geturl() or "/", body, dict(headers))
            with connection.getresponse() as answer:
                answer.read()
                return answer.status
        except BaseException:
            connection.close()
            raise

    def _to(self, scheme: str, host: str) -> HTTPConnection:
        if scheme not in _KINDS or not host:
            raise ValueError("no address of a web server")
        if (kept := self._kept.get((scheme, host))) is None:
            kept = self._kept[scheme, host] = _KINDS[scheme](host, timeout=TIMEOUT)
            self._of_all.append(kept)
        elif kept.sock is not None and wait_for_read(kept.sock, timeout=0):
            # The peer has hung up. The next request opens a new connection.
            kept.close()
        return kept
