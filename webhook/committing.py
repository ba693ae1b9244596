"""Group commit: deliveries that wait at the same moment are stored in one transaction and answered after it."""

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

#: most deliveries in one transaction: it bounds the memory and how long other writers wait
GROUP = 64
#: seconds that a busy writer waits for company, as PostgreSQL's commit_delay does; alone, a delivery is stored at once
LINGER = 0.001
#: seconds until a delivery is refused; the provider with the least patience hangs up after 15
PATIENCE = 10.0
#: seconds after which a store, or a check of /readyz, hangs: more than all time-outs of the database, which end it
#: where the server lives
HANGS_AFTER = 15.0
#: how many writers, or checks of one dependency, may hang at once; with one more, the process ends and its server
#: starts it again
MOST_HANGING = 3


class _Waiting:
    __slots__ = ("answer", "delivery")

    def __init__(self, delivery: Delivery) -> None:
        #: None when nobody waits for it any more
        self.delivery: Delivery | None = delivery
        #: gets one item: None when it is durable, else what went wrong
        self.answer: SimpleQueue[Exception | None] = SimpleQueue()


class _Writer(threading.Thread):
    """Stores group after group, until somebody else has taken its place."""

    def __init__(
        self,
        queue: SimpleQueue[_Waiting],
        store: Callable[[Sequence[Delivery]], object],
        prepare: Callable[[], None] | None,
        note: Callable[[bool], None],
    ) -> None:
        # A daemon: at its end the server waits for its requests, and so for every commit they wait for.
        super().__init__(name="group-commit", daemon=True)
        self._queue = queue
        self._store = store
        self._prepare = prepare
        self._note = note
        #: since when (monotonic) it waits for the ledger
        self.busy_since = time.monotonic()
        self.is_replaced = False

    def run(self) -> None:
        if self._prepare is not None:
            try:
                self._prepare()
            except Exception:
                log.exception("the connections to the ledger could not be closed")
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
            # One row that the database refuses must not take the others along.
            if len(group) > 1:
                log.warning("a group of %d deliveries was refused; storing one by one: %s", len(group), trouble)
                for waiting in group:
                    self._write([waiting])
                return
            log.exception("a callback cannot be stored")
            error = trouble
        finally:
            self.busy_since = math.inf
        if error is not None:
            self._note(False)
        for waiting in group:
            waiting.answer.put(error)


class GroupCommit:
    """Hands deliveries to one writer thread, which `store`s them in groups.

    A commit costs the same for one row as for thirty, and writers in many threads would only wait for each other. A
    writer whose store hangs is replaced by another one, after `reconnect`. Should the old one ever come back, it stores
    what is known by then, and nobody waits for its answer.
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
        #: when (monotonic) the latest store failed; None after one that did not
        self.failed_at: float | None = None

    def note(self, stored: bool) -> None:
        """Take down how a store has ended, also one of somebody else."""
        self.failed_at = None if stored else time.monotonic()

    def keep(self, delivery: Delivery) -> None:
        """Return when the delivery is durable.

        Raises LedgerUnavailable when it is not kept, whatever the database says: it shall be sent again.
        """
        waiting = _Waiting(delivery)
        self._queue.put(waiting)
        error = self._answer(waiting)
        if error is not None:
            # An exception of its own for each: the one of the group is shared with other threads.
            why = error if isinstance(error, DarkroomError) else described(error)
            raise LedgerUnavailable(f"the callback was not kept: {why}") from error

    def _answer(self, waiting: _Waiting) -> Exception | None:
        """What has become of it. Whoever waits also looks after the writer: while nobody does, no writer is needed."""
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
        """The writer that takes the place of this one; None: the first, which is started when it is needed.

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
            watchdog.end_process(f"{len(self._hanging)} writers of callbacks wait for a ledger that does not answer")
        log.error(
            "the ledger has not answered for %g seconds: another writer keeps callbacks, with a new connection "
            "(%d of at most %d hang)",
            self._hangs_after,
            len(self._hanging),
            MOST_HANGING,
        )
