"""A woken worker goes on until nothing is due: many rows per message, many waits at once, few commits."""

import functools
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import timedelta
from queue import Empty, SimpleQueue
from typing import Generic, Self, TypeVar

from worker import stopping
from worker.errors import LedgerUnavailable

log = logging.getLogger(__name__)

#: seconds after which a drain takes no new work, so that other kinds get their turn
SLICE_SECONDS = 10.0
#: for how long a claim is held; what a dead worker held comes back after it
LEASE = timedelta(seconds=30)
_RENEW_SECONDS = 8.0
#: seconds after which work is not held any longer: its thread hangs, and the task's time limit ends it by then
_LONGEST_SECONDS = 60.0
#: seconds between two claims while work is under way, so that rows are claimed in groups
_GROUPING = 0.05
#: seconds that a result waits for others, so that they are written down together
_LINGER = 0.02
#: seconds for which results wait for a ledger that is away
_PATIENCE = 30.0
_RETRY_SECONDS = 1.0

Item = TypeVar("Item")
Result = TypeVar("Result")


def drain(
    claim: Callable[[int], Sequence[Item]],
    work: Callable[[Item], Result],
    record: Callable[[Sequence[Result]], None],
    *,
    renew: Callable[[Sequence[Item]], None],
    threads: int,
    seconds: float = SLICE_SECONDS,
    give_back: Callable[[Sequence[Item]], None] | None = None,
) -> int:
    """Claim rows as long as there are any, work on them in threads, record their results in groups; how many.

    Never claims more than can start at once: what is claimed for a POST and not sent would be unclear after a crash.
    The claims of slow work are renewed. An item whose work raises is left to its lease. When the worker is told to
    stop, what is not done in time goes to `give_back`, or is left to its lease too. Raises LedgerUnavailable when the
    ledger stays away.
    """
    finished = 0
    closing = time.monotonic() + seconds
    claim_again_at = 0.0
    exhausted = False
    trouble: Exception | None = None
    with _UnderWay(work, renew, threads) as under_way:
        while True:
            now = time.monotonic()
            free = threads - len(under_way)
            # One row per commit would cost more than the work: while much is under way, claim in groups.
            worth_it = not under_way or now >= claim_again_at or (free >= threads // 2 and not exhausted)
            if free and worth_it and now < closing and not stopping.is_asked():
                items: Sequence[Item] = ()
                try:
                    items = claim(free)
                    under_way.start(items)
                except Exception as error:
                    if not under_way:
                        raise
                    # What is under way is still to be written down.
                    closing = now
                    trouble = None if isinstance(error, LedgerUnavailable) else error
                exhausted = len(items) < free
                claim_again_at = now + _GROUPING
            if not under_way:
                if trouble is not None:
                    raise trouble
                return finished
            done = under_way.take_ended()
            if results := _results(done):
                _record(record, results)
            finished += len(done)
            if stopping.seconds_left() <= 0:
                if under_way and give_back is not None:
                    give_back(under_way.items())
                return finished
            under_way.renew_slow()


class _UnderWay(Generic[Item, Result]):
    """Items that threads work on now."""

    def __init__(self, work: Callable[[Item], Result], renew: Callable[[Sequence[Item]], None], threads: int) -> None:
        self._work = work
        self._renew = renew
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="drain")
        self._started: dict[Future[Result], tuple[Item, float]] = {}
        self._ended: SimpleQueue[Future[Result]] = SimpleQueue()
        self._renew_at = time.monotonic() + _RENEW_SECONDS

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # A worker that has to stop does not wait for threads that hang; they end with its process.
        self._pool.shutdown(wait=stopping.seconds_left() > 0)

    def __len__(self) -> int:
        return len(self._started)

    def items(self) -> list[Item]:
        return [item for item, _ in self._started.values()]

    def start(self, items: Sequence[Item]) -> None:
        try:
            for item in items:
                future = self._pool.submit(self._work, item)
                self._started[future] = (item, time.monotonic())
                future.add_done_callback(self._ended.put)
        except RuntimeError:
            # The system gives no more threads. What waits for one of those that run would come too late, unrecorded.
            self._pool.shutdown(wait=False, cancel_futures=True)
            raise

    def take_ended(self) -> list[Future[Result]]:
        """Those that ended: none after a while, or the first and what ends soon after it."""
        done: list[Future[Result]] = []
        wait_until = time.monotonic() + _GROUPING
        with suppress(Empty):
            while self._started:
                done.append(self._ended.get(timeout=max(0.0, wait_until - time.monotonic())))
                del self._started[done[-1]]
                if len(done) == 1:
                    wait_until = time.monotonic() + _LINGER
        return done

    def renew_slow(self) -> None:
        """Renew, now and then, the claims of what takes long; not of what hangs."""
        now = time.monotonic()
        if now >= self._renew_at:
            self._renew_at = now + _RENEW_SECONDS
            ages = ((item, now - since) for item, since in self._started.values())
            slow = [item for item, age in ages if _RENEW_SECONDS / 2 <= age <= _LONGEST_SECONDS]
            if slow:
                _renew_if_possible(lambda: self._renew(slow))


@contextmanager
def renewed(renew: Callable[[], None]) -> Iterator[None]:
    """Renew a claim now and then while the block runs: for work that has no drain."""
    over = threading.Event()
    give_up_at = time.monotonic() + _LONGEST_SECONDS

    def go_on() -> None:
        while not over.wait(_RENEW_SECONDS) and time.monotonic() < give_up_at:
            _renew_if_possible(renew)

    keeper = threading.Thread(target=go_on, name="renew", daemon=True)
    keeper.start()
    try:
        yield
    finally:
        over.set()
        keeper.join()


def _renew_if_possible(renew: Callable[[], None]) -> None:
    try:
        renew()
    except LedgerUnavailable as error:
        log.warning("claims could not be renewed: %s", error)


def _record(record: Callable[[Sequence[Result]], None], results: Sequence[Result]) -> None:
    """What a provider answered to a POST cannot be had a second time. Raises LedgerUnavailable."""
    try:
        patiently(functools.partial(record, results), f"{len(results)} results")
    except LedgerUnavailable:
        raise
    except Exception:
        if len(results) == 1:
            log.exception("a result cannot be written down; its work is left to its lease")
            return
        # One of them is in the way of all: each by itself.
        for result in results:
            _record(record, [result])


def patiently(write: Callable[[], None], what: str = "what was claimed and not sent") -> None:
    """Wait for a ledger that is away: what only this process knows is lost with it. Raises LedgerUnavailable."""
    give_up_at = time.monotonic() + _PATIENCE
    while True:
        try:
            return write()
        except LedgerUnavailable as error:
            if time.monotonic() > give_up_at:
                raise
            log.warning("the ledger is away; %s must wait: %s", what, error)
            time.sleep(_RETRY_SECONDS)


def _results(done: Sequence[Future[Result]]) -> list[Result]:
    results = []
    for future in done:
        if future.cancelled():
            continue
        error = future.exception()
        if error is None:
            results.append(future.result())
        else:
            log.error("work failed unexpectedly and is left to its lease", exc_info=error)
    return results
