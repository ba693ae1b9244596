"""Delivers callbacks: a small pool of threads, connections kept alive, one try each."""

import queue
import threading
import time
from collections.abc import Callable

import urllib3

from webhook.sandbox.journal import Journal

THREADS = 32
#: seconds for the whole exchange; the vendors do not document theirs
TIMEOUT = 5


class Callbacks:
    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._http = urllib3.PoolManager(num_pools=THREADS, maxsize=THREADS)
        self._waiting: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        # Daemons: a receiver that does not answer must not hold up the end of the process.
        for number in range(THREADS):
            threading.Thread(target=self._work, name=f"sandbox-callbacks-{number}", daemon=True).start()

    def later(self, call: Callable[[], None]) -> None:
        """Run `call`, which delivers something, in one of the threads."""
        self._waiting.put(call)

    def deliver(self, url: str, body: bytes, *, task_id: str, progress: int) -> None:
        """POST once and note what came of it; no failure is raised and none is tried again.

        Ace Data Cloud documents no retries, no timeout, no signature and no headers of its own.
        """
        facts = {"task_id": task_id, "url": url, "progress": progress}
        began = time.monotonic()
        try:
            answer = self._http.request(
                "POST",
                url,
                body=body,
                headers={"Content-Type": "application/json"},
                timeout=urllib3.Timeout(total=TIMEOUT),
                retries=False,
                redirect=False,
            )
        except urllib3.exceptions.HTTPError as error:
            self._journal.note("callback", **facts, error=str(error), seconds=time.monotonic() - began)
        else:
            self._journal.note("callback", **facts, status=answer.status, seconds=time.monotonic() - began)

    def stop(self) -> None:
        for _ in range(THREADS):
            self._waiting.put(None)

    def _work(self) -> None:
        while (call := self._waiting.get()) is not None:
            call()
