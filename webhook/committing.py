"""Group commit: deliveries that wait at the same moment are stored in one transaction and answered after it."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue

from worker.errors import DarkroomError, LedgerUnavailable
from worker.ledger.inbox import Delivery
from worker.redaction import described

log = logging.getLogger(__name__)

#: most deliveries in one transaction: it bounds the memory and how long other writers wait
GROUP = 64
#: seconds that a busy writer waits for company, as PostgreSQL's commit_delay does; alone, a delivery is stored at once
LINGER = 0.001
#: seconds until a delivery is refused; the provider with the least patience hangs up after 15
PATIENCE = 10.0


class _Waiting:
    __slots__ = ("answer", "delivery")

    def __init__(self, delivery: Delivery) -> None:
        #: None when nobody waits for it any more
        self.delivery: Delivery | None = delivery
        #: gets one item: None when it is durable, else what went wrong
        self.answer: SimpleQueue[Exception | None] = SimpleQueue()


class GroupCommit:
    """Hands deliveries to one writer thread, which `store`s them in groups.

    A commit costs the same for one row as for thirty, and writers in many threads would only wait for each other.
    """

    def __init__(self, store: Callable[[Sequence[Delivery]], object], *, patience: float = PATIENCE) -> None:
        self._store = store
        self._patience = patience
        self._queue: SimpleQueue[_Waiting] = SimpleQueue()
        self._starting = threading.Lock()
        self._writer: threading.Thread | None = None

    def keep(self, delivery: Delivery) -> None:
        """Return when the delivery is durable.

        Raises LedgerUnavailable when it is not kept, whatever the database says: it shall be sent again.
        """
        if self._writer is None:
            self._start()
        waiting = _Waiting(delivery)
        self._queue.put(waiting)
        try:
            error = waiting.answer.get(timeout=self._patience)
        except Empty:
            waiting.delivery = None
            raise LedgerUnavailable(f"the ledger did not answer within {self._patience:g} seconds") from None
        if error is not None:
            # An exception of its own for each: the one of the group is shared with other threads.
            why = error if isinstance(error, DarkroomError) else described(error)
            raise LedgerUnavailable(f"the callback was not kept: {why}") from error

    def _start(self) -> None:
        # Not in __init__: a thread does not outlive a fork of the server.
        with self._starting:
            if self._writer is None:
                # A daemon: at its end the server waits for its requests, and so for every commit they wait for.
                self._writer = threading.Thread(target=self._write_for_ever, name="group-commit", daemon=True)
                self._writer.start()

    def _write_for_ever(self) -> None:
        company = False
        while True:
            group = self._next_group(LINGER if company else 0)
            self._write(group)
            company = len(group) > 1

    def _next_group(self, linger: float) -> list[_Waiting]:
        group = [self._queue.get()]
        if linger:
            time.sleep(linger)
        while len(group) < GROUP:
            try:
                group.append(self._queue.get_nowait())
            except Empty:
                break
        return group

    def _write(self, group: list[_Waiting]) -> None:
        error: Exception | None = None
        deliveries = [waiting.delivery for waiting in group if waiting.delivery is not None]
        try:
            if deliveries:
                self._store(deliveries)
        except DarkroomError as trouble:
            error = trouble
        except Exception as trouble:
            # One row that the database refuses must not take the others along.
            if len(group) > 1:
                log.warning("a group of %d deliveries was refused; storing one by one: %s", len(group), trouble)
                for waiting in group:
                    self._write([waiting])
                return
            log.exception("a callback cannot be stored")
            error = trouble
        for waiting in group:
            waiting.answer.put(error)
