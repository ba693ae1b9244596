"""Delivers callbacks from a small pool of threads over keep-alive connections."""

import queue
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import urllib3

from webhook.sandbox.journal import Journal

THREADS = 32
#: seconds for the whole exchange; Kie documents 15, the others nothing
TIMEOUT = 5


class Callbacks:
    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._http = urllib3.PoolManager(num_pools=THREADS, maxsize=THREADS)
        self._waiting: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        # Daemons: a receiver that does not answer must not delay the shutdown.
        for number in range(THREADS):
            threading.Thread(target=self._work, name=f"sandbox-callbacks-{number}", daemon=True).start()

    def later(self, call: Callable[[], None]) -> None:
        """Run `call`, which makes a delivery, in one of the threads."""
        self._waiting.put(call)

    def deliver(self, url: str, body: bytes, headers: Mapping[str, str], **facts: Any) -> int | None:
        """POST once and log the result with `facts`; return the status, or None if there was no response."""
        facts["url"] = url
        began = time.monotonic()
        try:
            answer = self._http.request(
                "POST",
                url,
                body=body,
                headers={"Content-Type": "application/json", **headers},
                timeout=urllib3.Timeout(total=TIMEOUT),
                retries=False,
                redirect=False,
            )
        except urllib3.exceptions.HTTPError as error:
            self._journal.note("callback", **facts, error=str(error), seconds=time.monotonic() - began)
            return None
        self._journal.note("callback", **facts, status=answer.status, seconds=time.monotonic() - began)
        return answer.status

    def stop(self) -> None:
        for _ in range(THREADS):
            self._waiting.put(None)
        self._http.clear()

    def _work(self) -> None:
        while (call := self._waiting.get()) is not None:
            call()
