"""A woken worker goes on until nothing is due, and loses no result."""

import logging
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext, suppress
from functools import partial
from types import SimpleNamespace

import pytest

from tests.patience import patient, wait_for
from worker.errors import ConfigurationError, LedgerUnavailable
from worker.runtime import draining, shutdown, unwritten
from worker.runtime.draining import renewed

#: nothing in most of these tests takes so long that its claim must be renewed
drain = partial(draining.drain, renew=lambda _items: pytest.fail("nothing is slow here"))


class Work:
    """So many numbers are due; each takes a moment, and what was recorded is kept with the thread that worked on it."""

    def __init__(self, due: int, moment: float = 0.0) -> None:
        self.due = list(range(due))
        self.moment = moment
        self.recorded: list[int] = []
        self.groups: list[int] = []
        self.rooms: list[int] = []
        self.most_at_once = 0
        self._at_once = 0
        self._lock = threading.Lock()

    def claim(self, room: int) -> Sequence[int]:
        self.rooms.append(room)
        taken, self.due = self.due[:room], self.due[room:]
        return taken

    def work(self, number: int) -> int:
        with self._lock:
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        time.sleep(self.moment)
        with self._lock:
            self._at_once -= 1
        return number

    def record(self, numbers: Sequence[int]) -> None:
        assert numbers
        self.recorded += numbers
        self.groups.append(len(numbers))


def test_everything_is_worked_on_once():
    work = Work(100)
    assert drain(work.claim, work.work, work.record, threads=8) == 100
    assert sorted(work.recorded) == list(range(100))


def test_nothing_due_nothing_done():
    work = Work(0)
    assert drain(work.claim, work.work, work.record, threads=8) == 0
    assert work.recorded == []
    assert work.rooms == [8]


def test_no_more_is_claimed_than_can_start_at_once():
    work = Work(40, moment=0.005)
    drain(work.claim, work.work, work.record, threads=4)
    assert max(work.rooms) == work.most_at_once == 4


def test_a_slow_item_does_not_hold_up_the_others():
    work = Work(30)
    slow = threading.Event()

    def one_is_slow(number: int) -> int:
        if number == 0:
            assert slow.wait(patient(10))
        return number

    def record(numbers: Sequence[int]) -> None:
        work.record(numbers)
        if len(work.recorded) == 29:
            slow.set()

    assert drain(work.claim, one_is_slow, record, threads=4) == 30
    assert work.recorded[-1] == 0


def test_after_its_time_it_takes_no_new_work_but_ends_what_it_has():
    work = Work(1000, moment=0.02)
    done = drain(work.claim, work.work, work.record, threads=2, seconds=0.1)
    assert 2 <= done < 200
    assert len(work.recorded) == done
    assert len(work.due) == 1000 - done


def test_work_that_comes_meanwhile_is_done_too():
    work = Work(1)

    def more(numbers: Sequence[int]) -> None:
        work.record(numbers)
        if len(work.recorded) < 5:
            work.due.append(len(work.recorded))

    assert drain(work.claim, work.work, more, threads=4) == 5


def test_an_item_that_breaks_is_left_to_its_lease(caplog: pytest.LogCaptureFixture):
    work = Work(5)

    def breaks(number: int) -> int:
        if number == 3:
            raise KeyError(number)
        return number

    with caplog.at_level(logging.ERROR):
        drain(work.claim, breaks, work.record, threads=2)
    assert sorted(work.recorded) == [0, 1, 2, 4]
    assert "left to its lease" in caplog.text
    assert "KeyError" in caplog.text


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unwritten, "_RETRY_SECONDS", 0.01)
    monkeypatch.setattr(unwritten, "_PATIENCE", 0.2)


@pytest.mark.usefixtures("impatient")
def test_a_result_that_cannot_be_recorded_keeps_no_other_from_it(caplog: pytest.LogCaptureFixture):
    work = Work(5)

    def breaks(numbers: Sequence[int]) -> None:
        if 3 in numbers:
            raise KeyError("3")
        work.record(numbers)

    with caplog.at_level(logging.ERROR):
        drain(work.claim, work.work, breaks, threads=5)
    assert sorted(work.recorded) == [0, 1, 2, 4]
    assert "could not record a result" in caplog.text


@pytest.mark.parametrize("error", [LedgerUnavailable("away"), ConfigurationError("old")], ids=str)
def test_what_is_under_way_is_recorded_though_the_next_claim_fails(error: Exception):
    """A POST that was answered must not be forgotten because the ledger was away for a moment, or is being upgraded."""
    work = Work(3)
    claim_failed = threading.Event()

    def claim(room: int) -> Sequence[int]:
        if work.rooms:
            claim_failed.set()
            raise error
        return work.claim(room)

    def wait(number: int) -> int:
        assert claim_failed.wait(patient(10))
        return number

    with nullcontext() if isinstance(error, LedgerUnavailable) else pytest.raises(ConfigurationError):
        assert drain(claim, wait, work.record, threads=4) == 3
    assert sorted(work.recorded) == [0, 1, 2]


def test_what_gets_no_thread_is_never_begun_and_the_others_are_recorded(monkeypatch: pytest.MonkeyPatch):
    """As in a container with a limit of processes: begun later, it would be sent and its result lost."""
    work = Work(4)
    start, end = threading.Thread.start, ThreadPoolExecutor.shutdown
    begun: list[int] = []
    closed = threading.Event()

    def refused(thread: threading.Thread) -> None:
        if thread.name == "drain_2":
            raise RuntimeError("can't start new thread")
        start(thread)

    def close(pool: ThreadPoolExecutor, **how: bool) -> None:
        end(pool, **how)
        closed.set()

    def wait(number: int) -> int:
        begun.append(number)
        assert closed.wait(patient(10))
        return number

    monkeypatch.setattr(threading.Thread, "start", refused)
    monkeypatch.setattr(ThreadPoolExecutor, "shutdown", close)
    with pytest.raises(RuntimeError, match="thread"):
        drain(work.claim, wait, work.record, threads=4)
    assert sorted(begun) == sorted(work.recorded) == [0, 1]


def test_a_ledger_that_is_away_at_once_is_told():
    def claim(_room: int) -> Sequence[int]:
        raise LedgerUnavailable("away")

    work = Work(0)
    with pytest.raises(LedgerUnavailable):
        drain(claim, work.work, work.record, threads=4)


@pytest.mark.parametrize(
    "error", [LedgerUnavailable("away"), ConfigurationError("no such column"), ValueError("odd")], ids=repr
)
def test_results_wait_whatever_keeps_them_from_being_recorded(monkeypatch: pytest.MonkeyPatch, error: Exception):
    """As in a rolling upgrade, whose new column comes in a moment."""
    monkeypatch.setattr(unwritten, "_RETRY_SECONDS", 0.01)
    work = Work(8)
    refusals = iter(range(20))

    def record(numbers: Sequence[int]) -> None:
        if next(refusals, None) is not None:
            raise error
        work.record(numbers)

    assert drain(work.claim, work.work, record, threads=4) == 8
    assert sorted(work.recorded) == list(range(8))


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("error", [LedgerUnavailable("away"), ConfigurationError("no such column")], ids=repr)
def test_results_do_not_wait_for_ever(error: Exception):
    work = Work(8)

    def record(_numbers: Sequence[int]) -> None:
        raise error

    with pytest.raises(type(error)):
        drain(work.claim, work.work, record, threads=4)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("error", [LedgerUnavailable("away"), ConfigurationError("old"), ValueError("odd")], ids=repr)
def test_nothing_more_is_paid_for_while_nothing_can_be_recorded(error: Exception):
    work = Work(100)

    def record(_numbers: Sequence[int]) -> None:
        raise error

    with suppress(type(error)):
        drain(work.claim, work.work, record, threads=4)
    assert len(work.due) >= 92


def test_each_result_is_kept_as_long_as_any_other(monkeypatch: pytest.MonkeyPatch):
    """Also one that comes when others have waited for most of their time."""
    now = 0
    monkeypatch.setattr(unwritten, "time", SimpleNamespace(monotonic=lambda: now))
    recorded: list[int] = []

    def record(numbers: Sequence[int]) -> None:
        if now < 40:
            raise LedgerUnavailable("away")
        recorded.extend(numbers)

    results = unwritten.Unwritten(record)
    results.add([0])
    for now in range(60):
        if now == 20:
            results.add([1])
        results.write_down()
    assert recorded == [1]
    assert isinstance(results.trouble, LedgerUnavailable)


def test_a_result_whose_row_is_held_by_somebody_keeps_no_other_from_being_recorded(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(unwritten, "_RETRY_SECONDS", 0.01)
    work = Work(30)
    let_go = threading.Event()

    def record(numbers: Sequence[int]) -> None:
        if 0 in numbers and not let_go.is_set():
            raise LedgerUnavailable("lock timeout")
        work.record(numbers)
        if len(work.recorded) == 29:
            let_go.set()

    assert drain(work.claim, work.work, record, threads=4) == 30
    assert work.recorded[-1] == 0


def test_a_worker_that_is_told_to_stop_does_not_wait_for_the_ledger(
    told_to_stop: threading.Event, caplog: pytest.LogCaptureFixture
):
    work = Work(1)

    def record(_numbers: Sequence[int]) -> None:
        told_to_stop.set()
        raise LedgerUnavailable("away")

    assert drain(work.claim, work.work, record, threads=4) == 1
    assert "1 results not recorded at shutdown" in caplog.text


def test_results_are_recorded_in_groups():
    work = Work(64)
    drain(work.claim, work.work, work.record, threads=16)
    assert len(work.groups) < 64


def test_quick_work_is_claimed_ahead_of_its_threads_in_large_groups():
    work = Work(200)
    assert drain(work.claim, work.work, work.record, threads=4, ahead=16, give_back=lambda _: None) == 200
    assert work.rooms[0] == 4
    assert 4 < max(work.rooms) <= 20
    assert sorted(work.recorded) == list(range(200))


def test_slow_work_is_not_claimed_ahead(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(draining, "_AHEAD_SECONDS", 0.0)
    work = Work(40, moment=0.005)
    drain(work.claim, work.work, work.record, threads=4, ahead=16, give_back=lambda _: None)
    assert max(work.rooms) == work.most_at_once == 4


def test_what_was_claimed_ahead_of_work_that_became_slow_is_given_back(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(draining, "_AHEAD_PATIENCE", 0.05)
    monkeypatch.setattr(draining, "_AHEAD_SECONDS", 3600.0)
    work, end = Work(60), threading.Event()
    given_back: list[int] = []

    def later_ones_hang(number: int) -> int:
        if number >= 20:
            assert end.wait(patient(10))
        return number

    def give_back(numbers: Sequence[int]) -> None:
        given_back.extend(numbers)
        work.due.clear()
        end.set()

    done = drain(work.claim, later_ones_hang, work.record, threads=4, ahead=16, give_back=give_back)
    assert given_back
    assert sorted(work.recorded + given_back) == list(range(max(work.recorded + given_back) + 1))
    assert done == len(work.recorded)


def test_what_was_claimed_ahead_is_given_back_when_the_worker_stops(told_to_stop: threading.Event):
    work = Work(1000)
    given_back: list[int] = []

    def stop_in_the_middle(number: int) -> int:
        if number == 20:
            told_to_stop.set()
        if number >= 20:
            time.sleep(0.05)
        return number

    drain(work.claim, stop_in_the_middle, work.record, threads=4, ahead=16, give_back=given_back.extend)
    assert given_back
    assert sorted([*work.recorded, *given_back, *work.due]) == list(range(1000))


def test_a_claim_while_work_is_in_flight_may_be_another_one():
    work = Work(1)
    claimed = threading.Event()
    more: list[int] = []

    def claim_more(room: int) -> Sequence[int]:
        more.append(room)
        claimed.set()
        return []

    def wait(number: int) -> int:
        assert claimed.wait(patient(10))
        return number

    assert drain(work.claim, wait, work.record, threads=4, claim_more=claim_more) == 1
    assert more[0] == 3
    assert work.rooms[0] == 4


@pytest.fixture
def told_to_stop(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Set it, and the worker is told to stop within 0.2 s."""
    told = threading.Event()
    deadline: list[float] = []

    def seconds_left() -> float:
        if told.is_set() and not deadline:
            deadline.append(time.monotonic() + 0.2)
        return deadline[0] - time.monotonic() if deadline else float("inf")

    monkeypatch.setattr(shutdown, "seconds_left", seconds_left)
    return told


def test_a_worker_that_is_told_to_stop_takes_nothing_more_and_writes_down_what_ends_in_time(
    told_to_stop: threading.Event,
):
    work = Work(1000)

    def stop(number: int) -> int:
        told_to_stop.set()
        time.sleep(0.05)
        return number

    assert drain(work.claim, stop, work.record, threads=4) == 4
    assert sorted(work.recorded) == [0, 1, 2, 3]
    assert len(work.due) == 996


def test_what_is_not_done_in_time_is_given_back_and_not_waited_for(told_to_stop: threading.Event):
    work = Work(3)
    given_back: list[int] = []
    end = threading.Event()
    hung: list[int] = []

    def hang(number: int) -> int:
        told_to_stop.set()
        if number > 0:
            end.wait(patient(20))
            hung.append(number)
        return number

    try:
        assert drain(work.claim, hang, work.record, threads=4, give_back=given_back.extend) == 1
        assert not hung
        assert (work.recorded, given_back) == ([0], [1, 2])
    finally:
        end.set()


def test_the_claims_of_slow_work_are_renewed_until_it_must_be_taken_for_hanging(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(draining, "_RENEW_SECONDS", 0.05)
    monkeypatch.setattr(draining, "_LONGEST_SECONDS", 0.5)
    work = Work(4)
    renewals: list[tuple[float, list[int]]] = []
    ended: list[bool] = []

    def one_hangs(number: int) -> int:
        if number == 0:
            ended.append(wait_for(lambda: renewals and time.monotonic() - renewals[-1][0] > 0.4, 10))
        return number

    def renew(numbers: Sequence[int]) -> None:
        renewals.append((time.monotonic(), list(numbers)))
        raise LedgerUnavailable("away for a moment, which must not end the work")

    assert drain(work.claim, one_hangs, work.record, threads=4, renew=renew) == 4
    assert ended == [True], "no renewal came any more while it still hung"
    assert len(renewals) > 2
    assert all(numbers == [0] for _, numbers in renewals)


def test_work_without_a_drain_is_renewed_while_it_lasts(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(draining, "_RENEW_SECONDS", 0.01)
    renewals: list[None] = []
    twice = threading.Event()

    def renew() -> None:
        renewals.append(None)
        if len(renewals) == 2:
            twice.set()

    with renewed(renew):
        assert twice.wait(patient(5))
    before = len(renewals)
    time.sleep(0.05)
    assert len(renewals) == before
