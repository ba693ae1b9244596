"""The drain loop: claim, work, record until nothing is due; many rows per message, many waits at once, few commits."""

import functools
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from queue import Empty, SimpleQueue
from typing import Generic, Self, TypeVar

from worker.errors import ConfigurationError, LedgerUnavailable
from worker.runtime import shutdown
from worker.secrets import described

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
#: seconds that results wait for an unavailable ledger
_PATIENCE = 30.0
_RETRY_SECONDS = 1.0

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
    seconds: float = SLICE_SECONDS,
    give_back: Callable[[Sequence[Item]], None] | None = None,
    takes_long: Callable[[Item], bool] | None = None,
    tell: Callable[[Sequence[Result], float], None] | None = None,
) -> int:
    """Claim rows while there are any, work on them in threads, record results in groups; return their number.

    Never claims more than can start at once: a row claimed for a POST but not sent would be unconfirmed after a crash.
    Claims of slow work are renewed. An item whose work raises is left to its lease. At shutdown, unfinished items go
    to `give_back`, or are left to their leases too. The end of the time slice does not wait for an item that
    `takes_long`: its thread continues, and its result is recorded later. `tell` receives each recorded group and the
    time (monotonic) at which work on its first item began. Raises LedgerUnavailable or ConfigurationError if the
    ledger stays unavailable or unfit.
    """
    finished = 0
    closing = time.monotonic() + seconds
    claim_again_at = 0.0
    exhausted = False
    trouble: Exception | None = None
    record_ended = functools.partial(_record_ended, record, tell)
    unwritten = _Unwritten(record_ended)
    with _UnderWay(functools.partial(_timed, work), renew, threads) as under_way:
        while True:
            now = time.monotonic()
            free = threads - len(under_way)
            # A commit per row would cost more than the work: while much is in flight, claim in groups.
            worth_it = not under_way or now >= claim_again_at or (free >= threads // 2 and not exhausted)
            # Anything paid for while nothing can be recorded may be lost.
            can_go_on = now < closing and unwritten.is_well and not shutdown.is_asked()
            if free and worth_it and can_go_on:
                items: Sequence[Item] = ()
                try:
                    items = claim(free)
                    under_way.start(items)
                except Exception as error:
                    if not under_way and not unwritten:
                        raise
                    # In-flight work must still be recorded.
                    closing = now
                    trouble = None if isinstance(error, LedgerUnavailable) else error
                exhausted = len(items) < free
                claim_again_at = now + _GROUPING
            under_way.leave(takes_long if now >= closing else None, record_ended, give_back)
            if not under_way and not unwritten:
                trouble = trouble or unwritten.trouble
                if trouble is not None:
                    raise trouble
                return finished
            done = under_way.take_ended()
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


@dataclass(slots=True)
class _Kept(Generic[Result]):
    result: Result
    give_up_at: float
    try_at: float
    is_fresh: bool = True


class _Unwritten(Generic[Result]):
    """Results that are not in the ledger yet: a provider's reply to a POST cannot be fetched again.

    Each is kept for a while whatever `record` raises, and none delays results that can be recorded.
    """

    def __init__(self, record: Callable[[Sequence[Result]], None]) -> None:
        self._record = record
        self._kept: list[_Kept[Result]] = []
        #: False while nothing can be recorded
        self.is_well = True
        #: why results were given up, where that is no fault of theirs
        self.trouble: Exception | None = None

    def __len__(self) -> int:
        return len(self._kept)

    def add(self, results: Sequence[Result]) -> None:
        now = time.monotonic()
        # While the ledger is away they wait for the next try of all.
        try_at = now if self.is_well else max((one.try_at for one in self._kept), default=now)
        self._kept += [_Kept(result, now + _PATIENCE, try_at) for result in results]

    def write_down(self) -> None:
        """Try what is due for it."""
        began = time.monotonic()
        due = [one for one in self._kept if one.try_at <= began]
        if not due:
            return
        refused = self._refused(due)
        if len(refused) < len(due):
            self.is_well = True
        elif any(one.is_fresh for one, _ in refused):
            self.is_well = False
        now = time.monotonic()
        if refused:
            log.warning("%d results wait to be recorded: %s", len(refused), described(refused[-1][1]))
        self._kept = [one for one in self._kept if one.try_at > began]
        for one, error in refused:
            if now < one.give_up_at:
                one.try_at, one.is_fresh = now + _RETRY_SECONDS, False
                self._kept.append(one)
                continue
            is_ours = isinstance(error, LedgerUnavailable | ConfigurationError)
            log.error("could not record a result; its work is left to its lease", exc_info=not is_ours and error)
            self.trouble = error if is_ours else self.trouble

    def _refused(self, group: Sequence[_Kept[Result]]) -> list[tuple[_Kept[Result], Exception]]:
        error = self._error_of(group)
        if error is None or len(group) == 1:
            return [(one, error) for one in group if error is not None]
        # One of them may be in the way of all: each by itself.
        refused: list[tuple[_Kept[Result], Exception]] = []
        for place, one in enumerate(group):
            if (error := self._error_of([one])) is None:
                continue
            if isinstance(error, LedgerUnavailable):
                # Others would wait as long for their refusal; next time they come before this one.
                return [*refused, *((it, error) for it in [*group[place + 1 :], one])]
            refused.append((one, error))
        return refused

    def _error_of(self, group: Sequence[_Kept[Result]]) -> Exception | None:
        try:
            self._record([one.result for one in group])
        except Exception as error:  # noqa: BLE001  whatever it is, the results exist only here
            return error
        return None


class _UnderWay(Generic[Item, Result]):
    """Items that threads are working on."""

    def __init__(self, work: Callable[[Item], Result], renew: Callable[[Sequence[Item]], None], threads: int) -> None:
        self._work = work
        self._renew = renew
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

    def take_ended(self) -> list[Future[Result]]:
        """Return finished items: none after a while, or the first and those that finish soon after it."""
        done: list[Future[Result]] = []
        if not self._started:
            time.sleep(_GROUPING)
        wait_until = time.monotonic() + _GROUPING
        with suppress(Empty):
            while self._started:
                ended = self._ended.get(timeout=max(0.0, wait_until - time.monotonic()))
                if self._started.pop(ended, None) is None:
                    # It was left to others.
                    continue
                done.append(ended)
                if len(done) == 1:
                    wait_until = time.monotonic() + _LINGER
        return done

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


def patiently(write: Callable[[], None]) -> None:
    """Retry for a while after any error: only this process has the data. Raises the last error."""
    give_up_at = time.monotonic() + _PATIENCE
    while True:
        try:
            return write()
        except Exception as error:
            if time.monotonic() > give_up_at:
                raise
            log.warning("could not return claims that were not sent; retrying: %s", described(error))
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
            log.error("work failed unexpectedly; it is left to its lease", exc_info=error)
    return results
