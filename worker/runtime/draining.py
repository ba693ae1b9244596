"""The drain loop: claim, work, record until nothing is due; many rows per message, many waits at once, few commits."""

import functools
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from queue import Empty, SimpleQueue
from typing import Generic, Self, TypeVar

from worker.errors import LedgerUnavailable
from worker.runtime import shutdown
from worker.runtime.unwritten import Unwritten, patiently

log = logging.getLogger(__name__)

#: seconds after which a drain claims no new work, so that other steps get their turn
SLICE_SECONDS = 10.0
#: the lifetime of a claim; a dead worker's work becomes due again after it
LEASE = timedelta(seconds=30)
_RENEW_SECONDS = 8.0
#: seconds after which claims are not renewed: the thread hangs, and the task's time limit will end it
_LONGEST_SECONDS = 60.0
#: seconds between two claims while work is in flight, so that rows are claimed in groups
_GROUPING = 0.05
#: seconds that a result waits for others, so that they are recorded together
_LINGER = 0.02
_STEP = 0.01
#: seconds of work that may be claimed ahead of its threads
_AHEAD_SECONDS = 0.5
#: seconds after which what was claimed ahead is given back: its threads have become slow
_AHEAD_PATIENCE = 1.0
#: seconds between two checks, during late work, whether the worker has to stop
_LATE_LOOK_SECONDS = 0.5

#: give back what goes on after its drain
_late: list[Callable[[], None]] = []

Item = TypeVar("Item")
Result = TypeVar("Result")


def drain(
    claim: Callable[[int], Sequence[Item]],
    work: Callable[[Item], Result],
    record: Callable[[Sequence[Result]], None],
    *,
    renew: Callable[[Sequence[Item]], None],
    threads: int,
    claim_more: Callable[[int], Sequence[Item]] | None = None,
    ahead: int = 0,
    reserve: int = 0,
    linger: float = _LINGER,
    seconds: float = SLICE_SECONDS,
    give_back: Callable[[Sequence[Item]], None] | None = None,
    takes_long: Callable[[Item], bool] | None = None,
    tell: Callable[[Sequence[Result], float], None] | None = None,
) -> int:
    """Claim rows while there are any, work on them in threads, record results in groups; return their number.

    Never claims more than can start at once: a row claimed for a POST but not sent would be unconfirmed after a crash.
    Where that does no harm, up to `ahead` more may be claimed while work is quick: no more than ended just before, and
    what has to wait for long goes to `give_back`. `claim_more` claims while other work is in flight; either may leave
    `reserve` threads idle though more is due. A result waits up to `linger` seconds for others. Claims of slow work are
    renewed. An item whose work raises is left to its lease. At shutdown, unfinished items go to `give_back`, or are
    left to their leases too. The end of the time slice does not wait for an item that `takes_long`: its thread
    continues, and its result is recorded later. `tell` receives each recorded group and the time (monotonic) at which
    work on its first item began. Raises LedgerUnavailable or ConfigurationError if the ledger stays unavailable or
    unfit.
    """
    finished = 0
    closing = time.monotonic() + seconds
    claim_again_at = 0.0
    exhausted = False
    trouble: Exception | None = None
    record_ended = functools.partial(_record_ended, record, tell)
    unwritten = Unwritten(record_ended)
    claim_more = claim_more or claim
    with _UnderWay(functools.partial(_timed, work), renew, threads, ahead) as under_way:
        while True:
            now = time.monotonic()
            most = threads + under_way.ended_lately()
            free = most - len(under_way)
            # A commit per row would cost more than the work: while much is in flight, claim in groups.
            worth_it = not under_way or now >= claim_again_at or (free >= most // 2 and not exhausted)
            # Anything paid for while nothing can be recorded may be lost.
            can_go_on = now < closing and unwritten.is_well and not shutdown.is_asked()
            if free > 0 and worth_it and can_go_on:
                items: Sequence[Item] = ()
                try:
                    items = claim_more(free) if under_way else claim(free)
                    under_way.start(items)
                except Exception as error:
                    if not under_way and not unwritten:
                        raise
                    # In-flight work must still be recorded.
                    closing = now
                    trouble = None if isinstance(error, LedgerUnavailable) else error
                exhausted = len(items) < free - reserve
                claim_again_at = now + max(linger, _GROUPING)
            under_way.leave(takes_long if now >= closing else None, record_ended, give_back)
            if not under_way and not unwritten:
                trouble = trouble or unwritten.trouble
                if trouble is not None:
                    raise trouble
                return finished
            done = under_way.take_ended(linger)
            unwritten.add(_results(done))
            unwritten.write_down()
            finished += len(done)
            if shutdown.seconds_left() <= 0:
                if under_way and give_back is not None:
                    give_back(under_way.items())
                if unwritten:
                    log.error("%d results not recorded at shutdown; left to their leases", len(unwritten))
                return finished
            under_way.renew_slow()
            under_way.give_up_waiting(give_back)


@dataclass(frozen=True, slots=True)
class _Ended(Generic[Result]):
    result: Result
    #: monotonic
    began: float


def _timed(work: Callable[[Item], Result], item: Item) -> _Ended[Result]:
    began = time.monotonic()
    return _Ended(work(item), began)


def _record_ended(
    record: Callable[[Sequence[Result]], None],
    tell: Callable[[Sequence[Result], float], None] | None,
    ended: Sequence[_Ended[Result]],
) -> None:
    results = [one.result for one in ended]
    record(results)
    if tell is not None:
        tell(results, min(one.began for one in ended))


class _UnderWay(Generic[Item, Result]):
    """Items that threads are working on, and those that wait for a thread."""

    def __init__(
        self, work: Callable[[Item], Result], renew: Callable[[Sequence[Item]], None], threads: int, ahead: int
    ) -> None:
        self._work = work
        self._renew = renew
        self._threads = threads
        self._ended_at: deque[float] = deque(maxlen=ahead)
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="drain")
        self._started: dict[Future[Result], tuple[Item, float]] = {}
        self._ended: SimpleQueue[Future[Result]] = SimpleQueue()
        self._renew_at = time.monotonic() + _RENEW_SECONDS
        self._has_left = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # A worker that has to stop does not wait for threads that hang; they end with its process. Nobody waits for
        # those whose work takes long.
        self._pool.shutdown(wait=shutdown.seconds_left() > 0 and not self._has_left)

    def __len__(self) -> int:
        return len(self._started)

    def items(self) -> list[Item]:
        return [item for item, _ in self._started.values()]

    def leave(
        self,
        takes_long: Callable[[Item], bool] | None,
        record: Callable[[Sequence[Result]], None],
        give_back: Callable[[Sequence[Item]], None] | None,
    ) -> None:
        """Move long-running items to a thread of their own, so that nothing here waits for them."""
        if takes_long is None:
            return
        left = {future: item for future, (item, _) in self._started.items() if takes_long(item) and not future.done()}
        if left:
            for future in left:
                del self._started[future]
            self._has_left = True
            late = (left, record, self._renew, give_back)
            threading.Thread(target=_record_late, args=late, name="late", daemon=True).start()

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

    def ended_lately(self) -> int:
        """Return how many ended in the time for which work may be claimed ahead, at most `ahead`."""
        since = time.monotonic() - _AHEAD_SECONDS
        return sum(at >= since for at in self._ended_at)

    def give_up_waiting(self, give_back: Callable[[Sequence[Item]], None] | None) -> None:
        """Give back what was claimed ahead and has waited too long for a thread; at shutdown, all of it."""
        if give_back is None or len(self._started) <= self._threads:
            return
        before = time.monotonic() - (0 if shutdown.is_asked() else _AHEAD_PATIENCE)
        waited = [future for future, (_, since) in self._started.items() if since <= before]
        if unbegun := [self._started.pop(future)[0] for future in waited if future.cancel()]:
            try:
                give_back(unbegun)
            except LedgerUnavailable as error:
                log.warning("could not return %d claims; they are left to their leases: %s", len(unbegun), error)

    def take_ended(self, linger: float) -> list[Future[Result]]:
        """Return finished items: none after a while, or the first and those that finish soon after it."""
        if not self._started:
            time.sleep(_GROUPING)
            return []
        try:
            done = self._take(self._ended.get(timeout=_GROUPING))
        except Empty:
            return []
        wait_until = time.monotonic() + linger
        # In steps: to be woken by each would take the processor from those that work.
        while self._started and (left := wait_until - time.monotonic()) > 0:
            time.sleep(min(_STEP, left))
            with suppress(Empty):
                while self._started:
                    done += self._take(self._ended.get_nowait())
        return done

    def _take(self, ended: Future[Result]) -> list[Future[Result]]:
        if self._started.pop(ended, None) is None:
            # It was left to others.
            return []
        self._ended_at.append(time.monotonic())
        return [ended]

    def renew_slow(self) -> None:
        """Renew the claims of long-running work from time to time, but not of hung work."""
        now = time.monotonic()
        if now >= self._renew_at:
            self._renew_at = now + _RENEW_SECONDS
            ages = ((item, now - since) for item, since in self._started.values())
            slow = [item for item, age in ages if _RENEW_SECONDS / 2 <= age <= _LONGEST_SECONDS]
            if slow:
                _renew_if_possible(lambda: self._renew(slow))


def _record_late(
    left: "dict[Future[Result], Item]",
    record: Callable[[Sequence[Result]], None],
    renew: Callable[[Sequence[Item]], None],
    give_back: Callable[[Sequence[Item]], None] | None,
) -> None:
    """Renew the claims of long-running work and record its results as they arrive."""
    hand_back = functools.partial(_hand_back, left, give_back)
    _late.append(hand_back)
    renew_at = time.monotonic()
    try:
        while left:
            if time.monotonic() >= renew_at:
                renew_at = time.monotonic() + _RENEW_SECONDS
                _renew_if_possible(lambda: renew([*left.values()]))
            done = wait(left, timeout=_LATE_LOOK_SECONDS, return_when=FIRST_COMPLETED).done
            if results := _results([*done]):
                patiently(functools.partial(record, results))
            for future in done:
                del left[future]
            if left and shutdown.is_asked():
                hand_back()
                return
    except Exception:
        log.exception("could not record long-running work; it is left to its lease")
    finally:
        _late.remove(hand_back)


def _hand_back(left: "dict[Future[Result], Item]", give_back: Callable[[Sequence[Item]], None] | None) -> None:
    if give_back is not None:
        give_back([*left.values()])


def give_back_late() -> None:
    """Return long-running work to others at once, because this process ends."""
    for hand_back in [*_late]:
        with suppress(Exception):
            hand_back()


@contextmanager
def renewed(renew: Callable[[], None]) -> Iterator[None]:
    """Renew a claim from time to time while the block runs, for work outside a drain."""
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
        log.warning("could not renew claims: %s", error)


def _results(done: Sequence[Future[Result]]) -> list[Result]:
    results = []
    for future in done:
        if future.cancelled():
            continue
        error = future.exception()
        if error is None:
            results.append(future.result())
        else:
            log.error("work failed unexpectedly; it is left to its lease", exc_info=error)
    return results
