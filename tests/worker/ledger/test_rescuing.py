"""Tasks that the provider has and the ledger has not: each gets one place, and none of ours is taken for another's."""

from dataclasses import replace
from datetime import timedelta

import pytest

from tests.clock import NOON, FakeClock
from tests.factories import (
    LEASE,
    PLENTY,
    POLL_AFTER,
    PROVIDER,
    ask,
    at_once,
    claimed,
    delivery,
    new,
    one,
    queued,
    state_of,
    submitted,
    succeeded,
    success,
    task_of,
)
from worker.errors import Uncertain
from worker.generation import Generation, GenerationRequest, State, Status
from worker.ledger import Ledger
from worker.ledger.generations import Orphan, Place, Placed
from worker.ledger.outcome import News
from worker.ledger.submission import Claim, Submitted

pytestmark = pytest.mark.matrix

ELSEWHERE = Orphan(
    task_id="their-task",
    request=new("a boat").request,
    created_at=NOON - timedelta(hours=3),
    attempt_id=None,
    marked=True,
)


def unclear(ledger: Ledger) -> Claim:
    (claim,) = claimed(ledger)
    ledger.submissions.record([Submitted(claim.attempt_id, Uncertain("no answer", code="time_out"))], POLL_AFTER)
    return claim


def adopt(ledger: Ledger, *orphans: Orphan) -> list[Placed]:
    """What `adopt` says, which `look` has announced."""
    announced = ledger.generations.match_tasks(PROVIDER, orphans)
    placed = ledger.generations.import_tasks(PROVIDER, orphans)
    assert [one.place for one in announced] == [one.place for one in placed]
    return placed


def test_a_task_made_elsewhere_becomes_a_submitted_generation(ledger: Ledger, clock: FakeClock):
    (placed,) = adopt(ledger, ELSEWHERE)
    found = one(ledger, str(placed.generation_id))
    assert (found.state, found.task_id, found.prompt) == (State.SUBMITTED, "their-task", "a boat")
    assert (found.created_at, found.submitted_at, found.tries) == (NOON, ELSEWHERE.created_at, 1)
    story = ledger.generations.story(found.id)
    assert [move.to_state for move in story.transitions] == ["queued", "submitting", "submitted"]
    assert [attempt.state for attempt in story.attempts] == ["accepted"]
    assert "generation.imported" in [event.type for event in story.events]


def test_nothing_of_it_is_ever_submitted(ledger: Ledger):
    adopt(ledger, ELSEWHERE)
    assert ledger.dispatch.run(PROVIDER, PLENTY) == 0
    assert ledger.submissions.claim(9, LEASE) == []


def test_its_outcome_is_applied_like_any_other_and_it_is_polled_until_then(ledger: Ledger):
    (placed,) = adopt(ledger, ELSEWHERE)
    (silent,) = ask(ledger)
    assert (silent.attempt_id, silent.task_id) == (placed.attempt_id, "their-task")
    good = success(claimed(ledger)[0], task_id="their-task")
    assert ledger.generations.apply_outcomes([replace(good, attempt_id=str(placed.attempt_id))]) == ["applied"]
    assert one(ledger, str(placed.generation_id)).state is State.SUCCEEDED


def test_what_was_taken_is_known_from_then_on(ledger: Ledger):
    (first,) = adopt(ledger, ELSEWHERE)
    (second,) = adopt(ledger, ELSEWHERE)
    assert second == Placed(Place.KNOWN, first.generation_id)
    assert len(ledger.generations.page()) == 1


def test_a_task_that_a_page_holds_twice_is_taken_once(ledger: Ledger):
    first, second = adopt(ledger, ELSEWHERE, ELSEWHERE)
    assert (first.place, second.place) == (Place.NEW, Place.KNOWN)
    assert len(ledger.generations.page()) == 1


def test_four_who_rescue_at_once_take_each_task_once(ledger: Ledger):
    orphans = [replace(ELSEWHERE, task_id=f"task-{number}") for number in range(20)]
    results = at_once(*[lambda: ledger.generations.import_tasks(PROVIDER, orphans)] * 4)
    taken = [placed.place for result in results for placed in result]  # type: ignore[union-attr]
    assert (taken.count(Place.NEW), taken.count(Place.KNOWN)) == (20, 60)
    assert len(ledger.generations.page(limit=100)) == 20


def test_what_the_ledger_has_is_not_taken_again(ledger: Ledger):
    for claim in (*submitted(ledger), *succeeded(ledger)):
        for marked in (True, False):
            task = replace(ELSEWHERE, task_id=task_of(claim), attempt_id=claim.attempt_id, marked=marked)
            assert adopt(ledger, task) == [Placed(Place.KNOWN, claim.generation.id)]


def test_the_same_id_at_another_provider_is_another_task(ledger: Ledger):
    (claim,) = submitted(ledger)
    (placed,) = ledger.generations.import_tasks("kie", [replace(ELSEWHERE, task_id=task_of(claim))])
    assert placed.place is Place.NEW


def test_a_task_that_carries_the_mark_of_an_unclear_submission_resolves_it(ledger: Ledger):
    claim = unclear(ledger)
    (placed,) = adopt(ledger, replace(ELSEWHERE, task_id=task_of(claim), attempt_id=claim.attempt_id))
    assert placed == Placed(Place.MARKED, claim.generation.id, claim.attempt_id)
    assert ledger.generations.apply_outcomes([success(claim, cause="rescued")]) == ["applied"]
    assert one(ledger, claim).state is State.SUCCEEDED


@pytest.mark.parametrize("unclear_one", [lambda ledger: claimed(ledger)[0], unclear], ids=["under way", "unclear"])
@pytest.mark.parametrize("made", [NOON, NOON + timedelta(minutes=2), None])
def test_a_task_without_a_mark_may_be_the_one_that_is_missing(ledger: Ledger, unclear_one, made):
    claim = unclear_one(ledger)
    task = replace(ELSEWHERE, created_at=made, marked=False)
    assert adopt(ledger, task) == [Placed(Place.DOUBTFUL, claim.generation.id)]
    assert len(ledger.generations.page()) == 1


def test_a_task_of_another_time_or_with_a_mark_of_others_is_not_doubted(ledger: Ledger):
    unclear(ledger)
    early = replace(ELSEWHERE, task_id="early", marked=False)
    other = replace(ELSEWHERE, task_id="other", created_at=NOON, marked=True)
    assert [placed.place for placed in adopt(ledger, early, other)] == [Place.NEW, Place.NEW]


def test_one_that_a_restored_ledger_has_forgotten_is_found_by_its_callbacks_again(ledger: Ledger):
    forgotten = "0123456789abcdef" * 2
    (placed,) = adopt(ledger, replace(ELSEWHERE, attempt_id=forgotten))
    assert placed.attempt_id == forgotten
    ledger.callbacks.store([delivery(forgotten)])
    (callback,) = ledger.callbacks.claim(1, LEASE)
    good = success(claimed(ledger)[0], task_id="their-task")
    news = News(
        attempt_id=forgotten, outcome=good.outcome, cause="callback", deadlines=good.deadlines, callback_id=callback.id
    )
    assert ledger.generations.apply_outcomes([news]) == ["applied"]
    assert good.outcome.status is Status.SUCCEEDED  # type: ignore[union-attr]


def test_two_tasks_that_carry_one_mark_are_both_kept(ledger: Ledger):
    """Its provider has made it twice, and both may be charged."""
    (claim,) = submitted(ledger)
    second = replace(ELSEWHERE, attempt_id=claim.attempt_id)
    (placed,) = adopt(ledger, second)
    assert placed.place is Place.NEW
    assert placed.attempt_id != claim.attempt_id


def test_a_task_that_is_a_waiting_generation_is_taken_for_it_and_not_submitted_again(ledger: Ledger, clock: FakeClock):
    """After a restore from a backup that was made before its submission."""
    (generation,) = queued(ledger, batch="animals")
    ledger.dispatch.run(PROVIDER, PLENTY)
    mark = "ab" * 16
    task = Orphan(
        task_id="made-already", request=generation_request(generation), created_at=NOON, attempt_id=mark, marked=True
    )
    for _ in range(2):
        ledger.generations.import_tasks(PROVIDER, [task], waiting={"made-already": generation.id})
    found = one(ledger, generation)
    assert (found.state, found.task_id, found.tries) == (State.SUBMITTED, "made-already", 1)
    assert [attempt.id for attempt in ledger.generations.story(generation.id).attempts] == [mark]
    assert ledger.dispatch.run(PROVIDER, PLENTY) == 0
    assert ledger.submissions.claim(9, LEASE) == []
    assert len(ledger.generations.page(limit=9)) == 1


def test_one_that_was_cancelled_meanwhile_stays_so_and_its_task_is_another_generation(ledger: Ledger):
    (generation,) = queued(ledger)
    ledger.generations.cancel([generation.id])
    task = Orphan(
        task_id="made-already",
        request=generation_request(generation),
        created_at=NOON,
        attempt_id="ab" * 16,
        marked=True,
    )
    (placed,) = ledger.generations.import_tasks(PROVIDER, [task], waiting={"made-already": generation.id})
    assert placed.generation_id != generation.id
    assert state_of(ledger, generation) is State.CANCELLED


def generation_request(generation: Generation) -> GenerationRequest:
    return GenerationRequest(operation=generation.operation, prompt=generation.prompt)
