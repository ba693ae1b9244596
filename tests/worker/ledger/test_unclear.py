"""Submissions of which nobody knows whether they were taken: looked for, up to a horizon; then a person decides."""

from datetime import timedelta

import pytest
from sqlalchemy import update

from tests.clock import NOON, FakeClock
from tests.factories import (
    LEASE,
    PLENTY,
    POLL_AFTER,
    PROVIDER,
    archived,
    ask,
    at_once,
    attempts_of,
    claimed,
    delivery,
    events_of,
    history,
    new,
    one,
    progress,
    queued,
    resubmit,
    state_of,
    submitted,
    success,
    task_of,
)
from worker.errors import CallbackUnreadable, NotFound, RequestInvalid, Uncertain
from worker.generation import AttemptState, State
from worker.ledger import Ledger
from worker.ledger.changes import Person
from worker.ledger.outcome import News
from worker.ledger.schema import attempts
from worker.ledger.submission import Claim, Decision, Submitted

pytestmark = pytest.mark.matrix

HORIZON = timedelta(minutes=60)
ANNA = Person("anna", "seen in the dashboard")


def unclear(ledger: Ledger) -> Claim:
    (claim,) = claimed(ledger)
    ledger.submissions.record([Submitted(claim.attempt_id, Uncertain("no answer", code="time_out"))], POLL_AFTER)
    return claim


def resolve(ledger: Ledger, claim: Claim, decision: Decision, **facts: str) -> None:
    ledger.submissions.resolve([claim.generation.id], decision, ANNA, **facts)


# --- the horizon


def asked(ledger: Ledger, clock: FakeClock, hours: int) -> list[float]:
    """When it was looked for, in minutes."""
    began, moments = clock.now, []
    while clock.now < began + timedelta(hours=hours):
        clock.advance(30)
        if ask(ledger, horizon=HORIZON):
            moments.append((clock.now - began) / timedelta(minutes=1))
    return moments


def test_it_is_looked_for_until_the_horizon_and_once_more_at_it(ledger: Ledger, clock: FakeClock):
    claim = unclear(ledger)
    moments = asked(ledger, clock, 3)
    assert moments[0] == 0.5
    assert moments[-1] == 60
    assert 10 < len(moments) < 25
    assert state_of(ledger, claim) is State.UNCONFIRMED
    (known,) = ledger.submissions.unconfirmed()
    assert (known.asked, known.asked_again_at) == (len(moments), None)


def test_a_machine_that_slept_beyond_the_horizon_still_looks_once(ledger: Ledger, clock: FakeClock):
    unclear(ledger)
    clock.advance(hours=9)
    assert len(ask(ledger, horizon=HORIZON)) == 1
    assert asked(ledger, clock, 1) == []


def test_a_provider_that_did_not_answer_is_asked_again_for_a_day_at_the_most(ledger: Ledger, clock: FakeClock):
    unclear(ledger)
    clock.advance(hours=2)
    questions = 0
    while clock.now < NOON + timedelta(hours=30):
        if silent := ledger.submissions.claim_polls(100, LEASE, POLL_AFTER, HORIZON):
            questions += 1
            ledger.submissions.record_polled(silent, unanswered=silent)
        clock.advance(minutes=5)
    assert questions == (24 - 2) * 12 + 1
    assert ledger.maintenance.due() == []


def test_an_answer_that_is_missing_before_the_horizon_is_asked_for_again_soon(ledger: Ledger, clock: FakeClock):
    unclear(ledger)
    clock.advance(5)
    silent = ledger.submissions.claim_polls(100, LEASE, POLL_AFTER, HORIZON)
    ledger.submissions.record_polled(silent, unanswered=silent)
    (known,) = ledger.submissions.unconfirmed()
    assert known.asked_again_at == clock.now + timedelta(seconds=30)


def test_its_callback_resolves_it_beyond_the_horizon_too(ledger: Ledger, clock: FakeClock):
    claim = unclear(ledger)
    asked(ledger, clock, 2)
    assert ledger.generations.apply_outcomes([success(claim)]) == ["applied"]
    assert ledger.submissions.unconfirmed() == []


def test_one_that_is_found_is_asked_for_like_any_other(ledger: Ledger, clock: FakeClock):
    claim = unclear(ledger)
    asked(ledger, clock, 1)
    assert ledger.generations.apply_outcomes([progress(claim, 10)]) == ["applied"]
    assert len(ask(ledger)) == 1
    clock.advance(POLL_AFTER.total_seconds())
    assert len(ask(ledger)) == 1


# --- what is known


def test_what_is_known_of_each_is_told_and_of_nothing_else(ledger: Ledger, clock: FakeClock):
    submitted(ledger)
    archived(ledger)
    claim = unclear(ledger)
    queued(ledger)
    ledger.callbacks.store([delivery(claim.attempt_id, b"?", "1"), delivery(claim.attempt_id, b"!", "2")])
    (first,) = ledger.callbacks.claim(1, LEASE)
    ledger.generations.apply_outcomes(
        [
            News(
                attempt_id=claim.attempt_id,
                outcome=CallbackUnreadable("no JSON"),
                cause="callback",
                callback_id=first.id,
            )
        ]
    )
    clock.advance(5)
    ask(ledger, horizon=HORIZON)
    (known,) = ledger.submissions.unconfirmed()
    assert (known.generation.id, known.attempt_id, known.sent_at) == (claim.generation.id, claim.attempt_id, NOON)
    assert (known.error, known.asked) == ("no answer (code time_out)", 1)
    assert known.asked_again_at == clock.now + POLL_AFTER
    assert known.callbacks == ("unreadable", "not applied yet")
    assert ledger.submissions.unconfirmed("kie") == []


# --- what a person decides


def test_a_task_that_was_found_by_a_person_is_asked_for_at_once(ledger: Ledger, clock: FakeClock):
    claim = unclear(ledger)
    asked(ledger, clock, 2)
    resolve(ledger, claim, Decision.CHARGED, task_id=task_of(claim))
    found = one(ledger, claim)
    assert (found.state, found.task_id, found.reason, found.message) == (State.SUBMITTED, task_of(claim), None, None)
    (silent,) = ask(ledger, horizon=HORIZON)
    assert (silent.attempt_id, silent.task_id) == (claim.attempt_id, task_of(claim))
    assert ledger.generations.apply_outcomes([success(claim)]) == ["applied"]


@pytest.mark.parametrize(
    ("decision", "reason", "attempt"),
    [(Decision.CHARGED, "charged_without_result", "charged"), (Decision.NOT_CHARGED, "not_charged", "rejected")],
)
def test_without_a_result_it_fails_with_what_the_person_said(
    ledger: Ledger, decision: Decision, reason: str, attempt: str
):
    claim = unclear(ledger)
    resolve(ledger, claim, decision)
    found = one(ledger, claim)
    assert (found.state, found.reason, attempts_of(ledger, claim)) == (State.FAILED, reason, [attempt])
    assert found.message == f"resolved by anna: {decision} (seen in the dashboard)"
    # And if its picture comes after all, it is kept.
    assert ledger.generations.apply_outcomes([success(claim)]) == ["applied"]
    assert attempts_of(ledger, claim) == ["succeeded"]


def test_submitting_again_gives_up_the_old_attempt(ledger: Ledger):
    claim = unclear(ledger)
    resolve(ledger, claim, Decision.RESUBMIT)
    assert attempts_of(ledger, claim) == ["abandoned"]
    assert history(ledger, claim)[-2:] == [State.UNCONFIRMED, State.QUEUED]
    ledger.dispatch.run(PROVIDER, PLENTY)
    assert len(ledger.submissions.claim(9, LEASE)) == 1


@pytest.mark.parametrize("decision", Decision)
def test_who_has_decided_and_why_is_kept(ledger: Ledger, decision: Decision):
    claim = unclear(ledger)
    resolve(ledger, claim, decision)
    story = ledger.generations.story(claim.generation.id)
    assert story.transitions[-1].cause == f"resolved by anna: {decision} (seen in the dashboard)"
    (event,) = [event for event in story.events if event.type == "generation.resolved"]
    assert (event.payload["by"], event.payload["why"]) == ("anna", "seen in the dashboard")
    assert (event.payload["decision"], event.payload["attempt"]) == (decision, claim.attempt_id)


def test_without_a_reason_none_is_made_up(ledger: Ledger):
    claim = unclear(ledger)
    resubmit(ledger, claim)
    assert ledger.generations.story(claim.generation.id).transitions[-1].cause == "resolved by somebody: resubmit"


def test_a_task_of_another_generation_is_not_adopted(ledger: Ledger):
    (other,) = submitted(ledger)
    claim = unclear(ledger)
    with pytest.raises(RequestInvalid, match=f"task {task_of(other)} already belongs to another generation"):
        resolve(ledger, claim, Decision.CHARGED, task_id=task_of(other))
    assert (state_of(ledger, claim), events_of(ledger, claim)) == (State.UNCONFIRMED, ["generation.unconfirmed"])


def test_a_submission_that_is_not_unclear_itself_is_not_decided_about(ledger: Ledger):
    claim = unclear(ledger)
    with ledger.database.write() as connection:
        connection.execute(update(attempts).values(state=AttemptState.ACCEPTED))
    with pytest.raises(RequestInvalid, match=r"is already accepted.*nothing was changed"):
        resolve(ledger, claim, Decision.CHARGED, task_id="another")
    assert state_of(ledger, claim) is State.UNCONFIRMED
    assert "generation.resolved" not in events_of(ledger, claim)


def test_what_is_not_unconfirmed_is_left_alone_and_so_are_the_others(ledger: Ledger):
    claim = unclear(ledger)
    wrong = {
        claimed(ledger)[0].generation.id: State.SUBMITTING,
        submitted(ledger)[0].generation.id: State.SUBMITTED,
        archived(ledger)[0]: State.ARCHIVED,
        queued(ledger)[0].id: State.QUEUED,
    }
    for generation_id, state in wrong.items():
        for decision in Decision:
            with pytest.raises(RequestInvalid, match=f"{generation_id} is {state}, not unconfirmed"):
                ledger.submissions.resolve([claim.generation.id, generation_id], decision, ANNA)
    with pytest.raises(NotFound, match="there is no generation gen_nobody"):
        ledger.submissions.resolve([claim.generation.id, "gen_nobody"], Decision.RESUBMIT, ANNA)
    assert {generation_id: state_of(ledger, generation_id) for generation_id in wrong} == wrong
    assert (state_of(ledger, claim), attempts_of(ledger, claim)) == (State.UNCONFIRMED, ["uncertain"])


def test_a_callback_that_was_not_read_yet_comes_first(ledger: Ledger):
    claim = unclear(ledger)
    ledger.callbacks.store([delivery(claim.attempt_id)])
    with pytest.raises(RequestInvalid, match=f"a callback for {claim.generation.id} has just arrived"):
        resolve(ledger, claim, Decision.RESUBMIT)
    assert state_of(ledger, claim) is State.UNCONFIRMED


def test_two_persons_at_once_start_one_new_attempt(ledger: Ledger):
    claim = unclear(ledger)
    results = at_once(*[lambda: resubmit(ledger, claim)] * 4)
    assert sorted(type(result).__name__ for result in results) == ["NoneType"] + ["RequestInvalid"] * 3
    assert history(ledger, claim).count(State.QUEUED) == 2
    assert ledger.dispatch.run(PROVIDER, PLENTY) == 1
    assert len(ledger.submissions.claim(9, LEASE)) == 1


def test_a_decided_batch_is_complete(ledger: Ledger):
    ledger.generations.create([new()], "b")
    ledger.dispatch.run(PROVIDER, PLENTY)
    (claim,) = ledger.submissions.claim(1, LEASE)
    ledger.submissions.record([Submitted(claim.attempt_id, Uncertain("no answer", code="time_out"))], POLL_AFTER)
    resolve(ledger, claim, Decision.NOT_CHARGED)
    assert ledger.generations.counts(claim.generation.batch_id) == {State.FAILED: 1}


def test_a_person_has_an_unconfirmed_one_asked_for_at_once(ledger: Ledger, clock: FakeClock):
    (claim,) = claimed(ledger)
    ledger.submissions.record([Submitted(claim.attempt_id, Uncertain("no answer", code="time_out"))], POLL_AFTER)
    assert ledger.submissions.claim_polls(9, LEASE, POLL_AFTER) == []
    assert ledger.submissions.poll_now([claim.generation.id, "gen_missing"]) == 1
    assert [one.attempt_id for one in ledger.submissions.claim_polls(9, LEASE, POLL_AFTER)] == [claim.attempt_id]
    assert [one.generation.id for one in ledger.submissions.unconfirmed(limit=0)] == []
