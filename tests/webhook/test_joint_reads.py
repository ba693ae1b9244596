import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from tests.patience import patient, wait_for
from webhook.joint_reads import JointReads
from worker.errors import LedgerUnavailable


class SlowLedger:
    """Keeps what is committed; each read sees what is there when it begins, and ends when it is let through."""

    def __init__(self) -> None:
        self.rows: dict[str, int] = {}
        self.groups: list[list[str]] = []
        self.trouble: dict[str, Exception] = {}
        self.entered = threading.Semaphore(0)
        self.let_through = threading.Semaphore(0)
        self._reading = threading.Lock()
        self.most_at_once = 0
        self._at_once = 0

    def __call__(self, keys: Sequence[str]) -> Mapping[str, int]:
        with self._reading:
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
            self.groups.append([*keys])
        seen = {key: self.rows[key] for key in keys if key in self.rows}
        self.entered.release()
        assert self.let_through.acquire(timeout=patient(20))
        with self._reading:
            self._at_once -= 1
        if error := next((self.trouble[key] for key in keys if key in self.trouble), None):
            raise error
        return seen


@pytest.fixture
def ledger() -> SlowLedger:
    return SlowLedger()


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(50) as pool:
        yield pool


@pytest.fixture
def joint(ledger: SlowLedger) -> JointReads[int]:
    return JointReads(ledger, patience=patient(20))


def ask(pool: ThreadPoolExecutor, joint: JointReads[int], *keys: str) -> "list[Future[int | None]]":
    """Ask for each in a thread of its own; returns once all of them have joined a group."""
    joined = joint._next.keys | set(keys)
    asked = [pool.submit(joint.get, key) for key in keys]
    assert wait_for(lambda: joint._next.keys >= joined, 10)
    return asked


def first(pool: ThreadPoolExecutor, joint: JointReads[int], ledger: SlowLedger, key: str) -> "Future[int | None]":
    """One whose read has begun."""
    asked = pool.submit(joint.get, key)
    assert ledger.entered.acquire(timeout=patient(10))
    return asked


def outcome(call: Callable[[], int | None]) -> int | Exception | None:
    try:
        return call()
    except Exception as error:
        return error


def test_those_who_ask_during_a_read_share_the_next_one(
    pool: ThreadPoolExecutor, joint: JointReads[int], ledger: SlowLedger
) -> None:
    ledger.rows = {"a": 1, "b": 2, "c": 3}
    earlier = first(pool, joint, ledger, "a")
    others = ask(pool, joint, "b", "c", "missing")
    ledger.let_through.release(2)

    assert earlier.result(patient(10)) == 1
    assert [one.result(patient(10)) for one in others] == [2, 3, None]
    assert ledger.groups == [["a"], ["b", "c", "missing"]]
    assert ledger.most_at_once == 1


def test_whoever_asks_after_a_commit_sees_it_also_during_an_older_read(
    pool: ThreadPoolExecutor, joint: JointReads[int], ledger: SlowLedger
) -> None:
    ledger.rows = {"a": 1}
    earlier = first(pool, joint, ledger, "a")
    ledger.rows["a"] = 2
    (later,) = ask(pool, joint, "a")
    ledger.let_through.release(2)

    assert earlier.result(patient(10)) == 1
    assert later.result(patient(10)) == 2


def test_one_alone_is_read_at_once(joint: JointReads[int], ledger: SlowLedger) -> None:
    ledger.rows = {"a": 1}
    ledger.let_through.release(2)
    assert (joint.get("a"), joint.get("missing")) == (1, None)
    assert ledger.groups == [["a"], ["missing"]]


def test_a_ledger_that_is_away_is_told_to_each_of_the_group_with_an_exception_of_its_own(
    pool: ThreadPoolExecutor, joint: JointReads[int], ledger: SlowLedger
) -> None:
    ledger.trouble["b"] = LedgerUnavailable("the ledger is away")
    earlier = first(pool, joint, ledger, "a")
    others = ask(pool, joint, "b", "c")
    ledger.let_through.release(2)
    earlier.result(patient(10))
    told = [outcome(lambda one=one: one.result(patient(10))) for one in others]  # type: ignore[misc]

    assert [(type(one), str(one)) for one in told] == [(LedgerUnavailable, "the ledger is away")] * 2
    assert told[0] is not told[1]
    assert len(ledger.groups) == 2, "nobody asks again what cannot answer"


def test_a_row_that_cannot_be_read_concerns_those_alone_who_ask_for_it(
    pool: ThreadPoolExecutor, joint: JointReads[int], ledger: SlowLedger
) -> None:
    ledger.rows = {"good": 1, "poison": 2}
    ledger.trouble["poison"] = ValueError("this row is odd")
    earlier = first(pool, joint, ledger, "good")
    good, poison = ask(pool, joint, "good", "poison")
    # The group, each of its two alone, and the last question.
    ledger.let_through.release(5)
    earlier.result(patient(10))

    assert good.result(patient(10)) == 1
    with pytest.raises(ValueError, match="odd"):
        poison.result(patient(10))
    assert joint.get("good") == 1


def test_a_read_that_hangs_does_not_stop_the_others(pool: ThreadPoolExecutor, ledger: SlowLedger) -> None:
    ledger.rows = {"a": 1, "b": 2, "c": 3}
    joint: JointReads[int] = JointReads(ledger, patience=0.05)
    hanging = first(pool, joint, ledger, "a")
    others = ask(pool, joint, "b", "c")
    # Two more reads, each alone, while the first one hangs.
    assert all(ledger.entered.acquire(timeout=patient(10)) for _ in others)
    assert sorted(ledger.groups[1:]) == [["b"], ["c"]]
    ledger.let_through.release(3)
    assert [one.result(patient(10)) for one in (hanging, *others)] == [1, 2, 3]


def test_many_at_once_each_get_their_own(pool: ThreadPoolExecutor) -> None:
    rows = {f"{number}": number for number in range(40)}
    joint: JointReads[int] = JointReads(lambda keys: {key: rows[key] for key in keys if key in rows})
    keys = [*rows, "none", "nothing"] * 50
    assert [*pool.map(joint.get, keys)] == [rows.get(key) for key in keys]
