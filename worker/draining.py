"""A woken worker goes on until nothing is due: many rows per message, many waits at once, few commits."""

import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TypeVar

from worker.errors import LedgerUnavailable

log = logging.getLogger(__name__)

#: seconds after which a drain takes no new work, so that other kinds get their turn
SLICE_SECONDS = 10.0
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
    threads: int,
    seconds: float = SLICE_SECONDS,
) -> int:
    """Claim rows as long as there are any, work on them in threads, record their results in groups; how many.

    Never claims more than can start at once: what is claimed for a POST and not sent would be unclear after a crash.
    An item whose work raises is left to its lease. Raises LedgerUnavailable when the ledger stays away.
    """
    finished = 0
    closing = time.monotonic() + seconds
    claim_again_at = 0.0
    exhausted = False
    running = 0
    ended: SimpleQueue[Future[Result]] = SimpleQueue()
    with ThreadPoolExecutor(threads, thread_name_prefix="drain") as pool:
        while True:
            now = time.monotonic()
            free = threads - running
            # One row per commit would cost more than the work: while much is under way, claim in groups.
            worth_it = not running or now >= claim_again_at or (free >= threads // 2 and not exhausted)
            if free and worth_it and now < closing:
                try:
                    items = claim(free)
                except LedgerUnavailable:
                    if not running:
                        raise
                    # What is under way is still to be written down.
                    closing, items = now, []
                for item in items:
                    pool.submit(work, item).add_done_callback(ended.put)
                running += len(items)
                exhausted = len(items) < free
                claim_again_at = now + _GROUPING
            if not running:
                return finished
            done = _ended(ended, running)
            running -= len(done)
            _record_patiently(record, _results(done))
            finished += len(done)


def _ended(ended: "SimpleQueue[Future[Result]]", running: int) -> list["Future[Result]"]:
    """Those that ended: none after a while, or the first and what ends soon after it."""
    done: list[Future[Result]] = []
    wait_until = time.monotonic() + _GROUPING
    with suppress(Empty):
        while len(done) < running:
            done.append(ended.get(timeout=max(0.0, wait_until - time.monotonic())))
            if len(done) == 1:
                wait_until = time.monotonic() + _LINGER
    return done


def _record_patiently(record: Callable[[Sequence[Result]], None], results: Sequence[Result]) -> None:
    """A ledger that is away is waited for: what a provider answered to a POST cannot be had a second time."""
    give_up_at = time.monotonic() + _PATIENCE
    while results:
        try:
            return record(results)
        except LedgerUnavailable:
            if time.monotonic() > give_up_at:
                raise
            log.warning("the ledger is away; %d results wait for it", len(results))
            time.sleep(_RETRY_SECONDS)
    return None


def _results(done: Sequence[Future[Result]]) -> list[Result]:
    results = []
    for future in done:
        error = future.exception()
        if error is None:
            results.append(future.result())
        else:
            log.error("work failed unexpectedly and is left to its lease", exc_info=error)
    return results
