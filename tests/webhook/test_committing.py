import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.factories import at_once, delivery
from tests.patience import patient
from tests.webhook.receiving import until
from webhook.committing import GROUP, GroupCommit
from worker.errors import ConfigurationError, LedgerUnavailable
from worker.ledger.inbox import Delivery


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


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(200) as pool:
        yield pool


def test_those_who_wait_during_a_commit_share_the_next_one(pool: ThreadPoolExecutor) -> None:
    store = SlowStore()
    commit = GroupCommit(store)
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
    commit = GroupCommit(store)
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

    commit = GroupCommit(store)
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

    commit = GroupCommit(store)
    names = ["first", "poison", *(f"good {number}" for number in range(8))]
    results = at_once(*[lambda name=name: commit.keep(delivery(name)) for name in names])  # type: ignore[misc]

    assert [type(result).__name__ for result in results] == ["NoneType", "LedgerUnavailable", *["NoneType"] * 8]
    assert sorted(kept) == sorted(set(names) - {"poison"})


def test_after_its_patience_a_delivery_is_refused_and_is_not_stored_later(pool: ThreadPoolExecutor) -> None:
    store = SlowStore()
    commit = GroupCommit(store, patience=0.05)
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

    commit = GroupCommit(store)
    with pytest.raises(LedgerUnavailable):
        commit.keep(delivery("a"))
    with pytest.raises(LedgerUnavailable, match="odd"):
        commit.keep(delivery("b"))
    commit.keep(delivery("c"))
    assert troubles == []
