"""What receivers note of their answers reaches the ledger once, whatever happens to either."""

import threading
import time
from collections import Counter
from collections.abc import Sequence

import pytest

from tests.clock import FakeClock
from tests.factories import at_once, flat
from tests.webhook.conftest import receiver
from tests.webhook.receiving import deliver, new_attempt, path_of
from webhook import answers as module
from webhook.answers import Answers, Heartbeat
from worker.errors import CommitUnknown, LedgerUnavailable
from worker.ledger import Ledger
from worker.ledger.maintenance import Tally, TallyKey
from worker.ledger.outcome import Delivery


def numbers(ledger: Ledger, kind: Tally) -> dict[str, int]:
    return {key.value: number for key, number in ledger.maintenance.tallies().items() if key.kind is kind}


def test_answers_are_counted_by_status_and_only_what_is_acknowledged_by_time() -> None:
    answers = Answers()
    for status, seconds in ((200, 0.004), (200, 0.25), (200, 77.0), (404, 0.001), (503, 10.0)):
        answers.note(status, seconds)
    assert answers.add_up() == {
        TallyKey(Tally.ANSWERS, "", "200"): 3,
        TallyKey(Tally.ANSWERS, "", "404"): 1,
        TallyKey(Tally.ANSWERS, "", "503"): 1,
        TallyKey(Tally.ACKNOWLEDGED, "", "0.005"): 1,
        TallyKey(Tally.ACKNOWLEDGED, "", "0.25"): 1,
        TallyKey(Tally.ACKNOWLEDGED, "", "+Inf"): 1,
        TallyKey(Tally.ACKNOWLEDGED_MICROSECONDS, "", ""): 77_254_000,
    }


def test_what_was_told_is_not_told_again_and_what_was_not_is() -> None:
    answers = Answers()
    answers.note(404, 0.1)
    assert answers.add_up() == answers.add_up() == {TallyKey(Tally.ANSWERS, "", "404"): 1}
    answers.told()
    assert not answers.add_up()


def test_many_requests_at_once_lose_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_NOTED", 100)
    answers, over = Answers(), threading.Event()

    def note() -> None:
        for _ in range(5000):
            answers.note(404, 0.1)

    def take() -> None:
        while not over.is_set():
            if answers.many.wait(0.01):
                answers.many.clear()
                answers.add_up()

    taker = threading.Thread(target=take)
    taker.start()
    flat([[it] for it in at_once(*[note] * 8)])
    over.set()
    taker.join()
    assert answers.add_up() == {TallyKey(Tally.ANSWERS, "", "404"): 40_000}


def test_each_answer_of_the_receiver_is_noted(
    ledger: Ledger, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    noted: list[int] = []
    monkeypatch.setattr(Answers, "note", lambda _self, status, _seconds: noted.append(status))
    app = receiver(ledger, clock)
    statuses = [
        deliver(app, path_of(new_attempt())).status_code,
        deliver(app, path_of(new_attempt())[:-1] + "-").status_code,
        deliver(app, path_of(new_attempt()), b"x" * 300_000).status_code,
        app.test_client().get(path_of(new_attempt())).status_code,
    ]
    monkeypatch.setattr(ledger.database, "write", lambda **_: (_ for _ in ()).throw(LedgerUnavailable("away")))
    statuses.append(deliver(app, path_of(new_attempt())).status_code)
    assert noted == statuses == [200, 404, 413, 405, 503]


def test_the_time_of_an_acknowledgement_includes_the_commit(
    ledger: Ledger, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[float] = []
    store = ledger.callbacks.store

    def slow(deliveries: Sequence[Delivery]) -> int:
        time.sleep(0.2)
        return store(deliveries)

    monkeypatch.setattr(ledger.callbacks, "store", slow)
    monkeypatch.setattr(Answers, "note", lambda _self, _status, seconds: taken.append(seconds))
    deliver(receiver(ledger, clock), path_of(new_attempt()))
    assert [seconds > 0.2 for seconds in taken] == [True]


class Unwell:
    """A ledger whose reports fail as told, before or after they are written."""

    def __init__(self, ledger: Ledger, *errors: Exception | None) -> None:
        self.maintenance = self
        self._ledger = ledger
        self._errors = iter(errors)

    def report(self, process: str, pid: int, counted: Counter[TallyKey]) -> None:
        error = next(self._errors, None)
        if error is None or isinstance(error, CommitUnknown):
            self._ledger.maintenance.report(process, pid, counted)
        if error is not None:
            raise error


@pytest.mark.parametrize("error", [LedgerUnavailable("away"), KeyError("?"), CommitUnknown("perhaps")])
def test_a_report_that_fails_neither_loses_nor_doubles_what_was_counted(ledger: Ledger, error: Exception) -> None:
    answers = Answers()
    for _ in range(3):
        answers.note(404, 0.1)
    heartbeat = Heartbeat(Unwell(ledger, error), answers)  # type: ignore[arg-type]
    heartbeat.tell(1)
    answers.note(404, 0.1)
    for _ in range(2):
        heartbeat.tell(1)
        assert numbers(ledger, Tally.ANSWERS) == {"404": 4}
