"""A download may take longer than a task: a few at a time go on in their threads, and are recorded when they end."""

import threading
from collections.abc import Callable, Sequence

import pytest

from tasks import long_downloads
from tasks.long_downloads import LongDownloads
from tests.factories import LEASE, succeeded
from tests.patience import patient, wait_for
from worker.errors import LedgerUnavailable
from worker.ledger import Ledger
from worker.runtime import draining, shutdown, unwritten
from worker.runtime.draining import drain


def test_only_so_many_claims_may_take_long(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    succeeded(ledger, 3)
    first, second, third = ledger.assets.claim(3, LEASE)
    places = LongDownloads(2)
    with places.turn(first) as one, places.turn(second) as two:
        with places.turn(third) as three:
            assert three.may_go_on()
            assert not places.holds(third)
            monkeypatch.setattr(long_downloads, "LEAST", 60.0)
            monkeypatch.setattr(long_downloads, "SLICE", -60.0)
            three.begin()
            # Another asset of the same claim has its own moment.
            assert three.may_go_on()
            assert not places.holds(third)
            monkeypatch.setattr(long_downloads, "SLICE", 0.0)
            monkeypatch.setattr(long_downloads, "LEAST", 0.0)
            for turn in (one, two, three):
                turn.begin()
            assert one.may_go_on()
            assert two.may_go_on()
            assert not three.may_go_on()
            assert (places.holds(first), places.holds(second), places.holds(third)) == (True, True, False)
            monkeypatch.setattr(long_downloads, "LONGEST", 0.0)
            assert not one.may_go_on()
        monkeypatch.setattr(shutdown, "is_asked", lambda: True)
        assert not two.may_go_on()
    assert not places.holds(first)


class Late:
    """Two items, of which the second takes longer than the drain."""

    def __init__(self) -> None:
        self.due = [1, 2]
        self.recorded: list[int] = []
        self.renewed: list[int] = []
        self.given_back: list[int] = []
        self.end = threading.Event()
        self.record: Callable[[Sequence[int]], None] = self.recorded.extend

    def claim(self, room: int) -> Sequence[int]:
        taken, self.due = self.due[:room], self.due[room:]
        return taken

    def work(self, number: int) -> int:
        if number == 2:
            assert self.end.wait(patient(20))
        return number

    def drain(self) -> int:
        return drain(
            self.claim,
            self.work,
            self.record,
            renew=self.renewed.extend,
            threads=4,
            seconds=0.05,
            give_back=self.given_back.extend,
            takes_long=lambda number: number == 2,
        )


def test_what_takes_long_is_renewed_and_recorded_after_its_drain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(draining, "_RENEW_SECONDS", 0.05)
    late = Late()
    assert late.drain() == 1
    assert late.recorded == [1]
    assert wait_for(lambda: late.renewed, patient(10))
    late.end.set()
    assert wait_for(lambda: late.recorded == [1, 2], patient(10))
    assert (late.given_back, set(late.renewed)) == ([], {2})


def test_what_takes_long_is_given_back_when_the_worker_stops_or_its_process_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    late = Late()
    assert late.drain() == 1
    draining.give_back_late()
    assert late.given_back == [2]
    monkeypatch.setattr(shutdown, "is_asked", lambda: True)
    assert wait_for(lambda: late.given_back == [2, 2], patient(10))
    late.end.set()


def test_a_ledger_that_is_away_for_a_moment_loses_no_late_result(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unwritten, "_RETRY_SECONDS", 0.01)
    late = Late()
    away = [None]
    recorded: list[int] = []

    def record(numbers: Sequence[int]) -> None:
        if 2 in numbers and away:
            away.pop()
            raise LedgerUnavailable("away")
        recorded.extend(numbers)

    drain(
        late.claim, late.work, record, renew=late.renewed.extend, threads=4, seconds=0.05, takes_long=lambda n: n == 2
    )
    late.end.set()
    assert wait_for(lambda: recorded == [1, 2], patient(10))
