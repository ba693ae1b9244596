"""A failure that only says that the time was over is looked at again: twice, and not for ever."""

from datetime import timedelta

import pytest

from tests.clock import FakeClock
from tests.factories import (
    LEASE,
    POLL_AFTER,
    ask,
    at_once,
    claimed,
    failure,
    flat,
    state_of,
    submitted,
    success,
    task_of,
)
from worker.generation import Outcome, State, Status
from worker.ledger import Ledger
from worker.ledger.submission import Claim, Silent, is_time_out

pytestmark = pytest.mark.matrix


def timed_out(ledger: Ledger) -> Claim:
    (claim,) = submitted(ledger)
    ledger.generations.apply_outcomes([failure(claim, reason="failed", message="任务超时")])
    assert state_of(ledger, claim) is State.FAILED
    return claim


def looks(ledger: Ledger) -> list[Silent]:
    return ask(ledger)


def test_it_is_looked_at_after_ten_and_after_sixty_minutes_and_no_more(ledger: Ledger, clock: FakeClock):
    claim = timed_out(ledger)
    began, moments = clock.now, []
    while clock.now < began + timedelta(hours=4):
        clock.advance(minutes=2)
        assert ("poll" in ledger.maintenance.due()) is ledger.maintenance.is_due("poll")
        if ledger.maintenance.is_due("poll"):
            (one,) = looks(ledger)
            assert (one.attempt_id, one.state, one.task_id) == (claim.attempt_id, "failed", task_of(claim))
            moments.append((clock.now - began) / timedelta(minutes=1))
    assert moments == [10, 60]


def test_a_success_that_came_without_a_callback_is_kept(ledger: Ledger, clock: FakeClock):
    claim = timed_out(ledger)
    clock.advance(minutes=10)
    looks(ledger)
    assert ledger.generations.apply_outcomes([success(claim, cause="poll")]) == ["applied"]
    causes = [move.cause for move in ledger.generations.story(claim.generation.id).transitions]
    assert causes[-1] == "poll: success after failure"
    clock.advance(hours=1)
    assert looks(ledger) == []


def test_a_failure_with_another_reason_is_final(ledger: Ledger, clock: FakeClock):
    (claim,) = submitted(ledger)
    ledger.generations.apply_outcomes([failure(claim)])
    clock.advance(hours=2)
    assert ledger.maintenance.due() == []


def test_without_a_task_id_there_is_nothing_to_look_at(ledger: Ledger, clock: FakeClock):
    (claim,) = claimed(ledger)
    ledger.generations.apply_outcomes([failure(claim, task_id=None, reason="timeout")])
    clock.advance(hours=2)
    assert ledger.maintenance.due() == []


def test_it_is_not_submitted_again_before_the_last_look(ledger: Ledger, clock: FakeClock):
    claim = timed_out(ledger)
    ids = [claim.generation.id]
    for minutes in (0, 10, 50):
        clock.advance(minutes=minutes)
        assert ledger.generations.retry(ids) == {ids[0]: State.FAILED}
        assert ledger.generations.awaited(ids).keys() == {ids[0]}
        looks(ledger)
    assert ledger.generations.awaited(ids) == {}
    assert ledger.generations.retry(ids) == {ids[0]: State.QUEUED}


def test_a_look_whose_worker_died_is_taken_again_after_its_lease(ledger: Ledger, clock: FakeClock):
    timed_out(ledger)
    clock.advance(minutes=10)
    (held,) = ledger.submissions.claim_polls(100, LEASE, POLL_AFTER)
    ledger.submissions.renew_polls([held], LEASE)
    clock.advance(LEASE.total_seconds())
    (again,) = ledger.submissions.claim_polls(100, LEASE, POLL_AFTER)
    assert (again.attempt_id, again.next_at) == (held.attempt_id, held.next_at)
    ledger.submissions.record_polled([held])
    assert ledger.generations.awaited([held.generation_id]).popitem()[1] == clock.now + LEASE


def test_a_look_that_was_not_answered_is_not_the_last(ledger: Ledger, clock: FakeClock):
    timed_out(ledger)
    clock.advance(hours=2)
    for _ in range(3):
        silent = ledger.submissions.claim_polls(100, LEASE, POLL_AFTER)
        assert len(silent) == 1
        ledger.submissions.record_polled(silent, unanswered=silent)
        clock.advance(minutes=5)
    assert len(looks(ledger)) == 1
    clock.advance(hours=2)
    assert looks(ledger) == []


def test_one_that_a_person_has_submitted_again_is_looked_at_all_the_same(ledger: Ledger, clock: FakeClock):
    claim = timed_out(ledger)
    ledger.generations.retry([claim.generation.id], may_pay_twice=True)
    clock.advance(minutes=10)
    assert [one.attempt_id for one in looks(ledger)] == [claim.attempt_id]
    assert ledger.generations.apply_outcomes([success(claim, cause="poll")]) == ["applied"]
    # Found before the second submission: nothing is paid for twice.
    assert "dispatch" not in ledger.maintenance.due()


def test_two_clocks_never_look_at_the_same(ledger: Ledger, clock: FakeClock):
    claims = [timed_out(ledger) for _ in range(12)]
    clock.advance(minutes=10)
    taken = flat(at_once(*[lambda: looks(ledger)] * 4))
    assert sorted(one.attempt_id for one in taken) == sorted(claim.attempt_id for claim in claims)


@pytest.mark.parametrize(
    ("reason", "message", "answer"),
    [
        ("timeout", "Timeout to generate the image.", True),
        ("upstream_timeout", None, True),
        ("408", "No result for ten minutes", True),
        ("unknown_task", "the provider has no such task", True),
        ("failed", "任务超时", True),
        ("failed", "The task timed out", True),
        ("failed", "[Internal Server Error] fetch failed", False),
        ("forbidden", "the prompt is forbidden", False),
        ("failed", None, False),
        (None, None, False),
    ],
)
def test_what_counts_as_a_time_out(reason: str | None, message: str | None, answer: bool):
    assert is_time_out(Outcome(status=Status.FAILED, task_id="t", reason=reason, message=message)) is answer
