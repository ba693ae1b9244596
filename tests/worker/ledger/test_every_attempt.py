"""Each attempt is asked for until its outcome is known, also when another one has brought its generation on."""

from datetime import timedelta

import pytest

from tests.clock import FakeClock
from tests.factories import (
    LEASE,
    PLENTY,
    POLL_AFTER,
    PROVIDER,
    accepted,
    all_stored,
    ask,
    attempts_of,
    claimed,
    events_of,
    failure,
    progress,
    queued,
    resubmit,
    state_of,
    submitted,
    success,
    task_of,
)
from tests.worker.ledger.purses import EVERY, totals
from worker.errors import NotTaken, ProviderError, Rejected, Uncertain
from worker.generation import Accepted, State
from worker.ledger import Ledger
from worker.ledger.outcome import News
from worker.ledger.submission import Claim, Submitted
from worker.pricing.prices import Prices

pytestmark = pytest.mark.matrix

UNCLEAR = Uncertain("no answer", code="time_out")


def go(ledger: Ledger) -> Claim:
    ledger.dispatch.run(PROVIDER, PLENTY, Prices(rules=EVERY))
    (claim,) = ledger.submissions.claim(9, LEASE)
    return claim


def reply(ledger: Ledger, claim: Claim, result: Accepted | ProviderError | None = None) -> None:
    ledger.submissions.record([Submitted(claim.attempt_id, result or accepted(claim))], POLL_AFTER)


def two_attempts(ledger: Ledger) -> tuple[Claim, Claim]:
    """The first failed because the time was over; a person had it submitted again, and the second was accepted."""
    queued(ledger)
    first = go(ledger)
    reply(ledger, first)
    ledger.generations.apply_outcomes([failure(first, reason="timeout")])
    ledger.generations.retry([first.generation.id], may_pay_twice=True)
    second = go(ledger)
    reply(ledger, second)
    return first, second


def replaced(ledger: Ledger) -> Claim:
    """Nobody knows what became of it, and a person had its generation submitted again."""
    queued(ledger)
    claim = go(ledger)
    reply(ledger, claim, UNCLEAR)
    resubmit(ledger, claim)
    return claim


def asked_for(ledger: Ledger, clock: FakeClock, within: timedelta) -> list[str]:
    """The attempts that are asked for in this time."""
    found, end = [], clock.now + within
    while clock.now < end:
        clock.advance(minutes=5)
        found += [one.attempt_id for one in ask(ledger)]
    return found


@pytest.mark.parametrize(
    ("said", "after", "told"),
    [(success, {"late": 1, "spent": 1}, 1), (failure, {"late": 1, "released": 1}, 0)],
)
def test_a_second_attempt_is_asked_for_after_the_first_has_succeeded_late(
    ledger: Ledger, clock: FakeClock, said: type[News], after: dict[str, int], told: int
):
    first, second = two_attempts(ledger)
    ledger.generations.apply_outcomes([success(first)])
    ledger.assets.record([all_stored(claim) for claim in ledger.assets.claim(1, LEASE)])
    assert state_of(ledger, first) is State.ARCHIVED
    assert asked_for(ledger, clock, timedelta(hours=24)).count(second.attempt_id) > 100
    ledger.generations.apply_outcomes([said(second, cause="poll")])
    assert totals(ledger) == after
    assert events_of(ledger, first).count("generation.paid_twice") == told
    assert asked_for(ledger, clock, timedelta(hours=24)) == []


def test_one_whose_predecessor_succeeded_while_it_was_sent_is_asked_for_too(ledger: Ledger, clock: FakeClock):
    first = replaced(ledger)
    second = go(ledger)
    ledger.generations.apply_outcomes([success(first)])
    reply(ledger, second)
    assert set(asked_for(ledger, clock, timedelta(hours=24))) == {second.attempt_id}
    ledger.generations.apply_outcomes([success(second, cause="poll")])
    assert events_of(ledger, first).count("generation.paid_twice") == 1
    assert totals(ledger) == {"spent": 2}


def test_an_unclear_one_is_looked_for_although_its_predecessor_succeeded(ledger: Ledger, clock: FakeClock):
    first = replaced(ledger)
    second = go(ledger)
    ledger.generations.apply_outcomes([success(first)])
    reply(ledger, second, UNCLEAR)
    assert second.attempt_id in asked_for(ledger, clock, timedelta(minutes=30))
    ledger.generations.apply_outcomes([progress(second, 10, cause="found in the provider's list")])
    assert (state_of(ledger, first), attempts_of(ledger, first)) == (State.SUCCEEDED, ["succeeded", "accepted"])
    (silent,) = ask(ledger)
    assert silent.task_id == task_of(second)


def test_an_unclear_one_that_a_person_replaced_is_still_looked_for(ledger: Ledger, clock: FakeClock):
    first = replaced(ledger)
    assert first.attempt_id in asked_for(ledger, clock, timedelta(minutes=30))
    # What is found before the second was sent saves its money.
    assert ledger.generations.apply_outcomes([success(first, cause="found in the provider's list")]) == ["applied"]
    assert state_of(ledger, first) is State.SUCCEEDED
    assert ledger.dispatch.run(PROVIDER, PLENTY) == 0


def test_it_is_looked_for_also_when_the_person_decided_after_the_horizon(ledger: Ledger, clock: FakeClock):
    queued(ledger)
    first = go(ledger)
    reply(ledger, first, UNCLEAR)
    asked_for(ledger, clock, timedelta(hours=5))
    resubmit(ledger, first)
    assert asked_for(ledger, clock, timedelta(hours=1)).count(first.attempt_id) > 3
    assert asked_for(ledger, clock, timedelta(hours=2)) == []


def test_once_its_task_is_known_it_is_asked_for_by_it_until_it_ends(ledger: Ledger, clock: FakeClock):
    first = replaced(ledger)
    ledger.generations.apply_outcomes([progress(first, 10, cause="found in the provider's list")])
    (silent,) = ask(ledger)
    assert (silent.attempt_id, silent.task_id) == (first.attempt_id, task_of(first))
    assert first.attempt_id in asked_for(ledger, clock, timedelta(hours=24))
    ledger.generations.apply_outcomes([failure(first, cause="poll")])
    assert (state_of(ledger, first), attempts_of(ledger, first)) == (State.QUEUED, ["failed"])
    assert totals(ledger) == {"released": 1}


@pytest.mark.parametrize(
    ("late", "after", "money", "asked"),
    [
        (None, "abandoned", {"possible": 1}, "by its task"),
        (UNCLEAR, "abandoned", {"possible": 1}, "in the list"),
        (Rejected("no", code="no"), "rejected", {"released": 1}, "no more"),
        (NotTaken("busy", code="busy"), "rejected", {"released": 1}, "no more"),
    ],
)
def test_the_late_reply_to_a_replaced_one_settles_it_and_leaves_its_generation(
    ledger: Ledger, clock: FakeClock, late: ProviderError | None, after: str, money: dict[str, int], asked: str
):
    first = replaced(ledger)
    reply(ledger, first, late)
    assert (state_of(ledger, first), attempts_of(ledger, first)) == (State.QUEUED, [after])
    assert totals(ledger) == money
    clock.advance(minutes=2)
    expected = {"by its task": [task_of(first)], "in the list": [None], "no more": []}
    assert [one.task_id for one in ask(ledger)] == expected[asked]


def test_a_last_look_in_vain_is_not_the_last_question_for_a_task_that_is_known_meanwhile(
    ledger: Ledger, clock: FakeClock
):
    first = replaced(ledger)
    clock.advance(minutes=61)
    (silent,) = ledger.submissions.claim_polls(9, LEASE, POLL_AFTER)
    assert silent.next_at is None
    reply(ledger, first)
    ledger.submissions.record_polled([silent])
    assert first.attempt_id in asked_for(ledger, clock, timedelta(hours=1))


def test_a_task_of_another_attempt_is_not_taken_from_it(ledger: Ledger):
    (other,) = submitted(ledger)
    first = replaced(ledger)
    reply(ledger, first, accepted(other))
    assert [attempt.task_id for attempt in ledger.generations.story(first.generation.id).attempts] == [None]


def test_a_claim_that_nobody_asks_for_yet_is_left_to_its_lease(ledger: Ledger, clock: FakeClock):
    (claim,) = claimed(ledger)
    assert ask(ledger) == []
    clock.advance(LEASE.total_seconds() + 1)
    ledger.submissions.mark_lost_unconfirmed()
    assert [one.attempt_id for one in ask(ledger)] == [claim.attempt_id]


def test_one_that_was_never_sent_and_that_a_person_replaced_leaves_the_second_alone(ledger: Ledger, clock: FakeClock):
    (first,) = claimed(ledger)
    clock.advance(LEASE.total_seconds() + 1)
    ledger.submissions.mark_lost_unconfirmed()
    resubmit(ledger, first)
    second = go(ledger)
    assert ledger.submissions.begin(second.attempt_id)
    ledger.submissions.requeue_unsent()
    assert (state_of(ledger, first), attempts_of(ledger, first)) == (State.SUBMITTING, ["rejected", "sending"])
