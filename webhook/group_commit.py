"""Group commit: deliveries that arrive together are stored in one transaction and answered after it commits."""

import logging
import math
import threading
import time
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue

from worker.errors import DarkroomError, LedgerUnavailable
from worker.ledger.outcome import Delivery
from worker.runtime import watchdog
from worker.secrets import described

log = logging.getLogger(__name__)

#: the most deliveries in one transaction: limits memory, and how long other writers wait
GROUP = 64
#: seconds that a busy writer waits for more deliveries, like PostgreSQL's commit_delay; an idle one stores immediately
LINGER = 0.001
#: seconds until a delivery is refused; the fastest provider to time out does so after 15
PATIENCE = 10.0
#: seconds after which a store, or a check of /readyz, counts as hung: longer than every time-out of the database, which
#: would have ended it if the server were alive
HANGS_AFTER = 15.0
#: how many writers, or checks of one dependency, may hang at once; one more ends the process, and its server restarts
#: it
MOST_HANGING = 3


class _Waiting:
    __slots__ = ("answer", "delivery")

    def __init__(self, delivery: Delivery) -> None:
        #: None once nobody is waiting for it
        self.delivery: Delivery | None = delivery
        #: receives one item: None once it is durable, else the error
        self.answer: SimpleQueue[Exception | None] = SimpleQueue()


class _Writer(threading.Thread):
    """Stores group after group until another writer replaces it."""

    def __init__(
        self,
        queue: SimpleQueue[_Waiting],
        store: Callable[[Sequence[Delivery]], object],
        prepare: Callable[[], None] | None,
        note: Callable[[bool], None],
    ) -> None:
        # A daemon: at shutdown the server waits for its requests, and thereby for every commit they depend on.
        super().__init__(name="group-commit", daemon=True)
        self._queue = queue
        self._store = store
        self._prepare = prepare
        self._note = note
        #: when (monotonic) it began to wait for the ledger
        self.busy_since = time.monotonic()
        self.is_replaced = False

    def run(self) -> None:
        if self._prepare is not None:
            try:
                self._prepare()
            except Exception:
                log.exception("could not close the connections to the ledger")
        self.busy_since = math.inf
        company = False
        while not self.is_replaced:
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
                self.busy_since = time.monotonic()
                self._store(deliveries)
                self._note(True)
        except DarkroomError as trouble:
            error = trouble
        except Exception as trouble:
            # A row that the database refuses must not take the others with it.
            if len(group) > 1:
                log.warning("the ledger refused %d callbacks; storing them one by one: %s", len(group), trouble)
                for waiting in group:
                    self._write([waiting])
                return
            log.exception("could not store a callback")
            error = trouble
        finally:
            self.busy_since = math.inf
        if error is not None:
            self._note(False)
        for waiting in group:
            waiting.answer.put(error)


class GroupCommit:
    """Passes deliveries to one writer thread, which calls `store` with groups of them.

    A commit costs the same for one row as for thirty, and several writers would only wait for each other. If a store
    hangs, another writer takes over after `reconnect`. If the old one ever returns, it stores duplicates, and nobody
    waits for its result.
    """

    def __init__(
        self,
        store: Callable[[Sequence[Delivery]], object],
        reconnect: Callable[[], None],
        *,
        patience: float = PATIENCE,
        hangs_after: float = HANGS_AFTER,
    ) -> None:
        self._store = store
        self._reconnect = reconnect
        self._patience = patience
        self._hangs_after = hangs_after
        self._queue: SimpleQueue[_Waiting] = SimpleQueue()
        self._starting = threading.Lock()
        self._writer: _Writer | None = None
        self._hanging: list[_Writer] = []
        #: when (monotonic) the latest store failed; None if it succeeded
        self.failed_at: float | None = None

    def note(self, stored: bool) -> None:
        """Note whether a store, this writer's or another's, succeeded."""
        self.failed_at = None if stored else time.monotonic()

    def keep(self, delivery: Delivery) -> None:
        """Return once the delivery is durable.

        Raises LedgerUnavailable for every error of the database, so that the provider sends it again.
        """
        waiting = _Waiting(delivery)
        self._queue.put(waiting)
        error = self._answer(waiting)
        if error is not None:
            # A new exception for each: the group's exception is shared with other threads.
            why = error if isinstance(error, DarkroomError) else described(error)
            raise LedgerUnavailable(f"the callback was not stored: {why}") from error

    def _answer(self, waiting: _Waiting) -> Exception | None:
        """Wait for the result. Waiting requests also monitor the writer, which is needed only while a request waits."""
        give_up_at = time.monotonic() + self._patience
        while True:
            writer = self._writer or self._replace(None)
            now = time.monotonic()
            hangs_at = min(writer.busy_since, now) + self._hangs_after
            if now >= hangs_at:
                self._replace(writer)
                continue
            try:
                return waiting.answer.get(timeout=max(0.0, min(give_up_at, hangs_at) - now))
            except Empty:
                if time.monotonic() >= give_up_at:
                    waiting.delivery = None
                    self.note(False)
                    raise LedgerUnavailable(f"the ledger did not answer within {self._patience:g} seconds") from None

    def _replace(self, writer: _Writer | None) -> _Writer:
        """Start and return the writer that replaces `writer`; None stands for the first one, started on demand.

        Not in __init__: a thread does not outlive a fork of the server.
        """
        with self._starting:
            if self._writer is writer:
                if writer is not None:
                    self._leave(writer)
                self._writer = _Writer(self._queue, self._store, self._reconnect if writer else None, self.note)
                self._writer.start()
            assert self._writer is not None  # noqa: S101  a fact for the type checker
            return self._writer

    def _leave(self, writer: _Writer) -> None:
        writer.is_replaced = True
        self._hanging = [*(one for one in self._hanging if one.is_alive()), writer]
        if len(self._hanging) > MOST_HANGING:
            watchdog.end_process(f"{len(self._hanging)} callback writers wait for a ledger that does not answer")
        log.error(
            "the ledger has not answered for %g seconds: storing callbacks over a new connection "
            "(%d of at most %d writers hang)",
            self._hangs_after,
            len(self._hanging),
            MOST_HANGING,
        )
