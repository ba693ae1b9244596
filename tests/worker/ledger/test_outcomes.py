"""Callbacks and polls, in every order: each outcome is applied once, and nothing goes back."""

from itertools import permutations

import pytest

from tests.clock import NOON, FakeClock
from tests.factories import (
    LEASE,
    PLENTY,
    POLL_AFTER,
    PROVIDER,
    accepted,
    all_stored,
    at_once,
    attempts_of,
    claimed,
    delivery,
    events_of,
    failure,
    flat,
    history,
    one,
    progress,
    resubmit,
    state_of,
    submitted,
    succeeded,
    success,
    task_of,
)
from worker.errors import CallbackUnreadable, Uncertain
from worker.generation import AssetKind, Outcome, State, Status
from worker.ledger import Ledger
from worker.ledger.assets import Archived, Lost
from worker.ledger.outcome import News
from worker.ledger.submission import Claim, Submitted

pytestmark = pytest.mark.matrix


def apply(ledger: Ledger, *news: News) -> list[str]:
    return ledger.generations.apply_outcomes(news)


def reply(ledger: Ledger, claim: Claim) -> None:
    ledger.submissions.record([Submitted(claim.attempt_id, accepted(claim))], POLL_AFTER)


def unclear(ledger: Ledger) -> Claim:
    (claim,) = claimed(ledger)
    ledger.submissions.record([Submitted(claim.attempt_id, Uncertain("no answer", code="time_out"))], POLL_AFTER)
    return claim


def submitted_again(ledger: Ledger, claim: Claim) -> Claim:
    """By a person, who takes the risk of paying twice."""
    resubmit(ledger, claim)
    ledger.dispatch.run(PROVIDER, PLENTY)
    (second,) = ledger.submissions.claim(9, LEASE)
    return second


def test_a_success_brings_links_actions_and_a_name_for_follow_ups(ledger: Ledger):
    (claim,) = submitted(ledger)
    assert apply(ledger, success(claim, links=2)) == ["applied"]
    found = one(ledger, claim)
    assert (found.state, found.progress, found.finished_at) == (State.SUCCEEDED, 100, NOON)
    assert (found.actions, found.handle) == (("upscale1", "upscale2"), {"image_id": "i1"})
    first, second = ledger.generations.assets_of([found.id])[found.id]
    assert (first.index, second.index) == (0, 1)
    assert first.url == f"https://cdn.example/{claim.attempt_id}/0.png"
    assert (first.state, first.object_key, first.tries) == ("waiting", None, 0)
    assert events_of(ledger, claim) == ["generation.submitted", "generation.succeeded"]


def test_a_text_is_an_asset_that_is_here_already_and_never_dies(ledger: Ledger):
    (claim,) = claimed(ledger)
    outcome = Outcome(status=Status.SUCCEEDED, text={"descriptions": ["a fox", "zwei F\u00fcchse"]})
    assert ledger.generations.apply_outcomes([News(attempt_id=claim.attempt_id, outcome=outcome, cause="reply")]) == [
        "applied"
    ]
    (asset,) = ledger.generations.assets_of([claim.generation.id])[claim.generation.id]
    assert (asset.kind, asset.url, asset.content) == (AssetKind.TEXT, "", outcome.text)
    assert asset.deadline.year == 9999
    assert state_of(ledger, claim) is State.SUCCEEDED


def test_a_failure_brings_its_reason(ledger: Ledger):
    (claim,) = submitted(ledger)
    assert apply(ledger, failure(claim)) == ["applied"]
    found = one(ledger, claim)
    assert (found.state, found.reason, found.message) == (State.FAILED, "forbidden", "the prompt is forbidden")
    assert (attempts_of(ledger, claim), events_of(ledger, claim)[-1]) == (["failed"], "generation.failed")


def test_a_failure_without_a_reason_has_one_of_ours(ledger: Ledger):
    (claim,) = submitted(ledger)
    apply(ledger, failure(claim, reason=None, message=None))
    assert one(ledger, claim).reason == "failed"


@pytest.mark.parametrize("word", [success, failure], ids=["success", "failure"])
def test_the_callback_may_outrun_the_reply_to_the_submission(ledger: Ledger, word):
    (claim,) = claimed(ledger)
    assert apply(ledger, word(claim)) == ["applied"]
    before = one(ledger, claim)
    reply(ledger, claim)
    assert one(ledger, claim) == before
    assert before.task_id == task_of(claim)
    assert len(attempts_of(ledger, claim)) == 1


def test_progress_that_outruns_the_reply_proves_that_the_task_exists(ledger: Ledger):
    (claim,) = claimed(ledger)
    assert apply(ledger, progress(claim, 20)) == ["applied"]
    reply(ledger, claim)
    found = one(ledger, claim)
    assert (found.state, found.progress, found.task_id) == (State.SUBMITTED, 20, task_of(claim))
    assert history(ledger, claim) == [State.QUEUED, State.SUBMITTING, State.SUBMITTED]


def test_progress_without_a_task_id_proves_nothing(ledger: Ledger):
    (claim,) = claimed(ledger)
    assert apply(ledger, progress(claim, 20, task_id=None)) == ["ignored"]
    assert state_of(ledger, claim) is State.SUBMITTING


@pytest.mark.parametrize("order", list(permutations([10, 60, None, 35])))
def test_progress_only_grows(ledger: Ledger, order: tuple[int | None, ...]):
    (claim,) = submitted(ledger)
    apply(ledger, *(progress(claim, percent) for percent in order))
    assert one(ledger, claim).progress == 60


def test_progress_never_overwrites_an_end(ledger: Ledger):
    won, lost = submitted(ledger, 2)
    apply(ledger, success(won), failure(lost))
    assert apply(ledger, progress(won, 50), progress(lost, 50)) == ["ignored", "ignored"]
    assert (one(ledger, won).state, one(ledger, won).progress) == (State.SUCCEEDED, 100)
    assert (one(ledger, lost).state, one(ledger, lost).progress) == (State.FAILED, None)


def test_a_second_delivery_changes_nothing(ledger: Ledger):
    (claim,) = submitted(ledger)
    assert apply(ledger, success(claim, links=2), success(claim, links=2)) == ["applied", "ignored"]
    before = ledger.generations.story(claim.generation.id)
    assert apply(ledger, success(claim, links=3), failure(claim)) == ["ignored", "ignored"]
    assert ledger.generations.story(claim.generation.id) == before


def test_sixteen_deliveries_at_once_are_applied_once(ledger: Ledger):
    (claim,) = submitted(ledger)
    verdicts = flat(at_once(*[lambda: apply(ledger, success(claim, links=2))] * 16))
    assert sorted(verdicts) == ["applied"] + ["ignored"] * 15
    assert len(ledger.generations.assets_of([claim.generation.id])[claim.generation.id]) == 2
    assert history(ledger, claim).count(State.SUCCEEDED) == 1


def test_reply_callback_and_poll_at_once_agree(ledger: Ledger):
    claims = claimed(ledger, 12)
    words = (
        lambda claim: reply(ledger, claim),
        lambda claim: apply(ledger, progress(claim, 50)),
        lambda claim: apply(ledger, success(claim)),
        lambda claim: apply(ledger, success(claim, cause="poll")),
    )
    for some in (claims[:6], claims[6:]):
        results = at_once(*[lambda word=word, claim=claim: word(claim) for claim in some for word in words])
        assert not [result for result in results if isinstance(result, Exception)]
    assert {state_of(ledger, claim) for claim in claims} == {State.SUCCEEDED}
    assert {tuple(attempts_of(ledger, claim)) for claim in claims} == {("succeeded",)}


def test_a_failure_after_a_success_is_ignored(ledger: Ledger):
    (claim,) = succeeded(ledger)
    assert apply(ledger, failure(claim)) == ["ignored"]
    assert (state_of(ledger, claim), attempts_of(ledger, claim)) == (State.SUCCEEDED, ["succeeded"])


def test_a_success_after_a_failure_is_paid_for_and_kept(ledger: Ledger):
    (claim,) = submitted(ledger)
    apply(ledger, failure(claim))
    assert apply(ledger, success(claim)) == ["applied"]
    found = one(ledger, claim)
    assert (found.state, found.reason, found.message) == (State.SUCCEEDED, None, None)
    transitions = ledger.generations.transitions_of([found.id])[found.id]
    assert transitions[-1].cause == "callback: success after failure"
    assert len(ledger.generations.assets_of([found.id])[found.id]) == 1


def test_an_archived_generation_stays_as_it_is(ledger: Ledger):
    (claim,) = succeeded(ledger)
    (held,) = ledger.assets.claim(1, LEASE)
    ledger.assets.record([all_stored(held)])
    before = ledger.generations.story(claim.generation.id)
    assert apply(ledger, success(claim, links=4), failure(claim), progress(claim, 1)) == ["ignored"] * 3
    assert ledger.generations.story(claim.generation.id) == before


@pytest.mark.parametrize("word", [success, failure, lambda claim: progress(claim, 5)], ids=["success", "failure", "5%"])
def test_its_callback_resolves_an_unclear_submission(ledger: Ledger, word):
    claim = unclear(ledger)
    assert apply(ledger, word(claim)) == ["applied"]
    found = one(ledger, claim)
    assert found.state in {State.SUCCEEDED, State.FAILED, State.SUBMITTED}
    assert (found.task_id, found.tries) == (task_of(claim), 1)


def test_a_poll_says_the_same_as_a_callback(ledger: Ledger):
    (claim,) = submitted(ledger)
    assert apply(ledger, success(claim, cause="poll")) == ["applied"]
    transitions = ledger.generations.transitions_of([claim.generation.id])[claim.generation.id]
    assert (transitions[-1].to_state, transitions[-1].cause) == (State.SUCCEEDED, "poll")


@pytest.mark.parametrize("word", [success, failure, lambda claim, **facts: progress(claim, 5, **facts)])
def test_a_body_that_names_another_task_is_kept_but_not_applied(ledger: Ledger, word):
    (claim,) = submitted(ledger)
    before = one(ledger, claim)
    ledger.callbacks.store([delivery(claim.attempt_id)])
    (callback,) = ledger.callbacks.claim(1, LEASE)
    news = word(claim, task_id="someone-else")
    assert apply(
        ledger,
        News(
            attempt_id=news.attempt_id,
            outcome=news.outcome,
            cause="callback",
            deadlines=news.deadlines,
            callback_id=callback.id,
        ),
    ) == ["mismatch"]
    assert one(ledger, claim) == before
    (note,) = ledger.callbacks.dead()
    assert note.verdict == "mismatch"
    assert note.error == f"it names task_id someone-else, but this attempt is {task_of(claim)}"


def test_a_task_id_of_another_attempt_is_not_adopted(ledger: Ledger):
    (first,) = submitted(ledger)
    (second,) = claimed(ledger)
    assert apply(ledger, success(second, task_id=task_of(first))) == ["mismatch"]
    assert (state_of(ledger, second), one(ledger, second).task_id) == (State.SUBMITTING, None)


def test_an_outcome_without_a_task_id_belongs_to_its_attempt(ledger: Ledger):
    (claim,) = submitted(ledger)
    assert apply(ledger, success(claim, task_id=None)) == ["applied"]
    assert one(ledger, claim).task_id == task_of(claim)


def test_a_callback_for_an_attempt_that_nobody_knows_is_an_orphan(ledger: Ledger):
    (claim,) = submitted(ledger)
    stranger = News(
        attempt_id="f" * 32, outcome=success(claim).outcome, cause="callback", deadlines=success(claim).deadlines
    )
    assert apply(ledger, stranger, success(claim)) == ["orphan", "applied"]


def test_an_unreadable_one_is_set_aside_with_its_reason_and_can_be_replayed(ledger: Ledger):
    (claim,) = submitted(ledger)
    ledger.callbacks.store([delivery(claim.attempt_id, b"<html>")])
    (callback,) = ledger.callbacks.claim(1, LEASE)
    unreadable = News(
        attempt_id=claim.attempt_id,
        outcome=CallbackUnreadable("it is not JSON"),
        cause="callback",
        callback_id=callback.id,
    )
    assert apply(ledger, unreadable) == ["unreadable"]
    assert [(note.verdict, note.error) for note in ledger.callbacks.dead()] == [("unreadable", "it is not JSON")]
    assert ledger.callbacks.claim(1, LEASE) == []
    assert ledger.callbacks.replay() == 1
    (again,) = ledger.callbacks.claim(1, LEASE)
    assert again == callback
    good = success(claim)
    assert apply(
        ledger,
        News(
            attempt_id=claim.attempt_id,
            outcome=good.outcome,
            cause="callback",
            deadlines=good.deadlines,
            callback_id=again.id,
        ),
    ) == ["applied"]
    assert ledger.callbacks.dead() == []


def test_what_breaks_in_the_middle_leaves_nothing_behind(ledger: Ledger):
    first, second = submitted(ledger, 2)
    broken = success(second)
    with pytest.raises(ValueError, match="shorter"):
        apply(
            ledger,
            success(first),
            News(attempt_id=second.attempt_id, outcome=broken.outcome, cause="callback", deadlines=()),
        )
    assert [state_of(ledger, claim) for claim in (first, second)] == [State.SUBMITTED] * 2


def test_a_late_success_wins_while_the_generation_waits_to_be_submitted_again(ledger: Ledger, clock: FakeClock):
    claim = unclear(ledger)
    resubmit(ledger, claim)
    ledger.dispatch.run(PROVIDER, PLENTY)
    assert apply(ledger, success(claim)) == ["applied"]
    # And then nothing more is sent.
    assert ledger.submissions.claim(9, LEASE) == []
    clock.advance(60)
    assert ledger.dispatch.run(PROVIDER, PLENTY) == 0
    assert (state_of(ledger, claim), attempts_of(ledger, claim)) == (State.SUCCEEDED, ["succeeded"])
    assert one(ledger, claim).tries == 1


def test_only_a_success_of_a_replaced_attempt_moves_its_generation(ledger: Ledger):
    first = unclear(ledger)
    second = submitted_again(ledger, first)
    assert apply(ledger, progress(first, 50), progress(first, 60)) == ["applied", "ignored"]
    reply(ledger, second)
    assert (one(ledger, first).state, one(ledger, first).task_id) == (State.SUBMITTED, task_of(second))
    assert (one(ledger, first).progress, attempts_of(ledger, first)) == (None, ["abandoned", "accepted"])
    assert apply(ledger, failure(first)) == ["ignored"]
    assert (state_of(ledger, first), attempts_of(ledger, first)) == (State.SUBMITTED, ["failed", "accepted"])


def test_paid_twice_is_told_once(ledger: Ledger):
    first = unclear(ledger)
    second = submitted_again(ledger, first)
    reply(ledger, second)
    assert apply(ledger, success(first)) == ["applied"]
    assert one(ledger, first).task_id == task_of(first)
    assert apply(ledger, success(second), success(second)) == ["ignored", "ignored"]
    assert events_of(ledger, first).count("generation.paid_twice") == 1
    assert attempts_of(ledger, first) == ["succeeded", "succeeded"]
    assert len(ledger.generations.assets_of([first.generation.id])[first.generation.id]) == 1


def test_a_second_payment_that_failed_is_settled_without_a_word(ledger: Ledger):
    first = unclear(ledger)
    second = submitted_again(ledger, first)
    reply(ledger, second)
    assert apply(ledger, success(first), failure(second)) == ["applied", "ignored"]
    assert attempts_of(ledger, first) == ["succeeded", "failed"]
    assert (state_of(ledger, first), "generation.paid_twice" in events_of(ledger, first)) == (State.SUCCEEDED, False)


def test_an_expired_generation_comes_back_only_by_a_person(ledger: Ledger):
    (claim,) = succeeded(ledger)
    (held,) = ledger.assets.claim(1, LEASE)
    ledger.assets.record([Archived(held, (Lost(0, "404"),), described=False)])
    assert state_of(ledger, claim) is State.EXPIRED
    assert apply(ledger, success(claim)) == ["ignored"]
    assert state_of(ledger, claim) is State.EXPIRED


def test_news_of_many_generations_are_one_transaction(ledger: Ledger):
    claims = submitted(ledger, 40)
    assert apply(ledger, *(success(claim) for claim in claims)) == ["applied"] * 40
    assert ledger.generations.counts() == {State.SUCCEEDED: 40}
