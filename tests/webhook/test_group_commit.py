import itertools
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.factories import at_once, delivery
from tests.patience import patient
from tests.webhook.receiving import until
from webhook.group_commit import GROUP, GroupCommit
from worker.errors import ConfigurationError, LedgerUnavailable
from worker.ledger.outcome import Delivery


class SlowStore:
    """Stands for a commit: every call waits until it is let through."""

    def __init__(self) -> None:
        self.groups: list[list[str]] = []
        self.entered = threading.Semaphore(0)
        self.let_through = threading.Semaphore(0)

    def __call__(self, deliveries: Sequence[Delivery]) -> None:
        self.entered.release()
        assert self.let_through.acquire(timeout=patient(10))
        self.groups.append([one.attempt_id for one in deliveries])


class HangingStore:
    """Stands for a ledger whose first connections pass nothing: what is stored over them waits for `over`."""

    def __init__(self, hanging: int) -> None:
        self.kept: list[str] = []
        self.entered = threading.Semaphore(0)
        self.over = threading.Event()
        self._hanging = hanging
        self._numbers = itertools.count(1)

    def __call__(self, deliveries: Sequence[Delivery]) -> None:
        if next(self._numbers) <= self._hanging:
            self.entered.release()
            assert self.over.wait(20)
        self.kept.extend(one.attempt_id for one in deliveries)


def nothing() -> None:
    """What is stored here has no connections."""


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(200) as pool:
        yield pool


def test_those_who_wait_during_a_commit_share_the_next_one(pool: ThreadPoolExecutor) -> None:
    store = SlowStore()
    commit = GroupCommit(store, nothing)
    first = pool.submit(commit.keep, delivery("first"))
    store.entered.acquire()
    others = [pool.submit(commit.keep, delivery(f"other {number}")) for number in range(15)]
    until(lambda: commit._queue.qsize() == 15)

    store.let_through.release()
    first.result(patient(10))
    assert not any(other.done() for other in others)

    store.let_through.release()
    for other in others:
        other.result(patient(10))
    assert [len(group) for group in store.groups] == [1, 15]


def test_a_group_is_never_larger_than_its_limit(pool: ThreadPoolExecutor) -> None:
    store = SlowStore()
    commit = GroupCommit(store, nothing)
    waiting = [pool.submit(commit.keep, delivery("first"))]
    store.entered.acquire()
    waiting += [pool.submit(commit.keep, delivery(f"other {number}")) for number in range(GROUP + 1)]
    until(lambda: commit._queue.qsize() == GROUP + 1)
    for _ in range(3):
        store.let_through.release()
    for one in waiting:
        one.result(patient(10))
    assert [len(group) for group in store.groups] == [1, GROUP, 1]


@pytest.mark.parametrize("trouble", [LedgerUnavailable("the ledger is away"), ConfigurationError("it has no tables")])
def test_a_failed_group_refuses_each_with_an_exception_of_its_own(trouble: Exception) -> None:
    def store(_: Sequence[Delivery]) -> None:
        time.sleep(0.01)
        raise trouble

    commit = GroupCommit(store, nothing)
    results = at_once(*[lambda: commit.keep(delivery("a"))] * 4)

    assert all(type(result) is LedgerUnavailable and str(trouble) in str(result) for result in results)
    assert len({id(result) for result in results}) == 4


def test_one_row_that_is_refused_does_not_take_the_others_along() -> None:
    kept: list[str] = []

    def store(deliveries: Sequence[Delivery]) -> None:
        time.sleep(0.02)  # so that the others come together
        if any(one.attempt_id == "poison" for one in deliveries):
            raise ValueError("this row cannot be stored")
        kept.extend(one.attempt_id for one in deliveries)

    commit = GroupCommit(store, nothing)
    names = ["first", "poison", *(f"good {number}" for number in range(8))]
    results = at_once(*[lambda name=name: commit.keep(delivery(name)) for name in names])  # type: ignore[misc]

    assert [type(result).__name__ for result in results] == ["NoneType", "LedgerUnavailable", *["NoneType"] * 8]
    assert sorted(kept) == sorted(set(names) - {"poison"})


def test_after_its_patience_a_delivery_is_refused_and_is_not_stored_later(pool: ThreadPoolExecutor) -> None:
    store = SlowStore()
    commit = GroupCommit(store, nothing, patience=0.05)
    stuck = pool.submit(commit.keep, delivery("stuck"))
    store.entered.acquire()
    late = pool.submit(commit.keep, delivery("late"))
    for refused in (stuck, late):
        with pytest.raises(LedgerUnavailable, match="did not answer within"):
            refused.result(patient(10))

    for _ in range(2):
        store.let_through.release()
    commit.keep(delivery("again"))
    assert store.groups == [["stuck"], ["again"]]


def test_the_writer_goes_on_after_every_kind_of_trouble() -> None:
    troubles = [LedgerUnavailable("away"), ValueError("odd"), None]

    def store(_: Sequence[Delivery]) -> None:
        if trouble := troubles.pop(0):
            raise trouble

    commit = GroupCommit(store, nothing)
    with pytest.raises(LedgerUnavailable):
        commit.keep(delivery("a"))
    with pytest.raises(LedgerUnavailable, match="odd"):
        commit.keep(delivery("b"))
    commit.keep(delivery("c"))
    assert troubles == []


def test_what_waits_behind_a_store_that_hangs_is_kept_by_another_writer(pool: ThreadPoolExecutor) -> None:
    store, reconnected = HangingStore(1), threading.Event()
    commit = GroupCommit(store, reconnected.set, patience=20, hangs_after=0.3)
    hanging = pool.submit(commit.keep, delivery("hanging"))
    store.entered.acquire()
    names = [f"other {number}" for number in range(20)]
    for other in [pool.submit(commit.keep, delivery(name)) for name in names]:
        other.result(15)
    assert sorted(store.kept) == sorted(names)
    assert reconnected.is_set()
    # Nobody is told that it is durable before it is.
    assert not hanging.done()

    store.over.set()
    hanging.result(10)
    (old,) = commit._hanging
    old.join(10)
    assert not old.is_alive()
    commit.keep(delivery("again"))
    assert sorted(store.kept) == sorted([*names, "hanging", "again"])


def test_a_writer_that_hung_while_nobody_called_is_replaced_by_the_next_call() -> None:
    store = HangingStore(1)
    commit = GroupCommit(store, nothing, patience=0.1, hangs_after=0.3)
    with pytest.raises(LedgerUnavailable, match="did not answer within"):
        commit.keep(delivery("hanging"))
    time.sleep(0.3)
    commit.keep(delivery("next"))
    assert store.kept == ["next"]
    store.over.set()


def test_a_store_that_takes_long_is_left_to_its_writer(pool: ThreadPoolExecutor) -> None:
    store = SlowStore()
    commit = GroupCommit(store, nothing, patience=20, hangs_after=0.5)
    # Together they take longer, each of them does not.
    waiting = []
    for number in range(4):
        waiting.append(pool.submit(commit.keep, delivery(str(number))))
        store.entered.acquire()
        time.sleep(0.2)
        store.let_through.release()
    for one in waiting:
        one.result(10)
    assert commit._hanging == []


def test_connections_that_cannot_be_closed_hold_up_no_callback() -> None:
    def break_down() -> None:
        raise OSError("the socket is odd")

    store = HangingStore(1)
    commit = GroupCommit(store, break_down, patience=0.1, hangs_after=0.3)
    with pytest.raises(LedgerUnavailable):
        commit.keep(delivery("hanging"))
    time.sleep(0.3)
    commit.keep(delivery("next"))
    store.over.set()


@pytest.mark.processes
@pytest.mark.parametrize("comes_back", [False, True])
def test_a_process_with_more_writers_that_hang_than_it_may_have_ends_to_be_started_again(comes_back: bool) -> None:
    script = f"""
import threading, time
from tests.factories import delivery
from webhook.group_commit import MOST_HANGING, GroupCommit
over = threading.Event()
commit = GroupCommit(lambda _: over.wait(), lambda: None, patience=0.05, hangs_after=0.2)
for number in range(2 * MOST_HANGING + 2):
    if {comes_back} and number == MOST_HANGING:
        over.set()
        while any(one.is_alive() for one in commit._hanging):
            time.sleep(0.01)
        over.clear()
    try:
        commit.keep(delivery(str(number)))
    except Exception as error:
        print(error)
    time.sleep(0.2)
"""
    done = subprocess.run((sys.executable, "-u", "-c", script), capture_output=True, text=True, timeout=60, check=False)
    lived = done.stdout.count("did not answer")
    assert done.returncode == 1
    assert "4 callback writers wait for a ledger that does not answer" in done.stderr
    assert lived == (7 if comes_back else 4)
