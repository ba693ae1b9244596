"""Steps of recipes in the ledger: each once, only while they are due, and a batch waits for all that is asked."""

from dataclasses import replace
from datetime import timedelta
from threading import Barrier
from typing import Any

import pytest

from tests.clock import FakeClock
from tests.factories import (
    LEASE,
    PLENTY,
    POLL_AFTER,
    PROVIDER,
    accepted,
    all_stored,
    archived,
    at_once,
    failure,
    flat,
    new,
    one,
    queued,
    submitted,
    succeeded,
    success,
)  # fmt: skip
from worker.errors import RequestInvalid
from worker.generation import Generation, State
from worker.ledger import Ledger
from worker.ledger.approvals import Approval, ApprovalState
from worker.ledger.changes import Person
from worker.ledger.generations import NewApproval, NewGeneration, dedupe_of_step
from worker.ledger.schema import events
from worker.ledger.submission import Submitted
from worker.recipes import After, Chooser, Pick, Recipe, Step

DAY = timedelta(days=1)
SOMEBODY = Person("ada")
RECIPE = Recipe(
    name="shop",
    steps=(
        Step(id="again", do="imagine", after=After.FAILED),
        Step(id="early", do="video", after=After.SUCCEEDED),
        Step(id="large", do="upscale"),
        Step(id="best", do="upscale", pick=Pick(chooser=Chooser.PERSON), timeout=DAY),
    ),
    max_depth=1,
    max_fan_out=3,
)
ASKED = NewApproval(step="best", images=(1, 2, 3, 4), timeout=DAY)


def child(parent: Generation, step: str, number: int | None = None, **facts: object) -> NewGeneration:
    dedupe = dedupe_of_step(RECIPE.sha256, step, parent.id, number)
    mine = {"parent_id": parent.id, "depth": 1, "batch_id": parent.batch_id, "recipe": RECIPE, "step": step}
    return new(parent.prompt, dedupe=dedupe, **{**mine, **facts})


def moments(ledger: Ledger) -> list[After]:
    return [due.moment for due in ledger.generations.due_steps(99)]


def follow(ledger: Ledger, parent_id: str, moment: After, *steps: str, most: int | None = None) -> int:
    parent = one(ledger, parent_id)
    children = [child(parent, step) for step in steps]
    return ledger.generations.create_follow_ups(parent, children, [], moment=moment, most=most)


def ask(ledger: Ledger, parent_id: str) -> Approval:
    parent = one(ledger, parent_id)
    ledger.generations.create_follow_ups(parent, [], [], [ASKED], moment=After.ARCHIVED)
    (approval,) = ledger.approvals.of_generation(parent_id)
    return approval


def decide(ledger: Ledger, approval: Approval, numbers: tuple[int, ...], by: str = "ada", most: int = 3) -> int:
    parent = one(ledger, approval.generation_id)
    children = [child(parent, "best", number) for number in numbers]
    to = ApprovalState.DECIDED if numbers else ApprovalState.EXPIRED
    done = ledger.approvals.decide(
        approval, to, parent=parent, picked=numbers, by=by, why="", children=children, most=most
    )
    return done.created if done.is_new else -1


def children_of(ledger: Ledger, parent_id: str) -> list[str | None]:
    ids = [made.id for made in ledger.generations.story(parent_id).children]
    return sorted(str(made.step) for made in ledger.generations.get(ids))


def refusals(ledger: Ledger, parent_id: str) -> list[str]:
    told = ledger.generations.story(parent_id).events
    return [event.payload["reason"] for event in told if event.type == "follow_up.refused"]


def events_of(ledger: Ledger) -> list[Any]:
    with ledger.database.read() as connection:
        return list(connection.execute(events.select().order_by(events.c.id)))


def is_complete(ledger: Ledger, batch: str = "b") -> bool:
    return ledger.batches.steering(str(ledger.generations.newest_batch(batch))).completed_at is not None


def test_each_moment_is_due_by_itself_and_only_once(ledger: Ledger) -> None:
    (claim,) = submitted(ledger, recipe=RECIPE)
    parent = claim.generation.id
    assert moments(ledger) == []
    ledger.generations.apply_outcomes([failure(claim, reason="timeout")])
    assert moments(ledger) == [After.FAILED]
    assert follow(ledger, parent, After.FAILED, "again") == 1
    ledger.generations.apply_outcomes([success(claim)])
    assert moments(ledger) == [After.SUCCEEDED]
    assert follow(ledger, parent, After.SUCCEEDED, "early") == 1
    ledger.assets.record([all_stored(claim) for claim in ledger.assets.claim(9, LEASE)])
    assert moments(ledger) == [After.ARCHIVED]
    assert follow(ledger, parent, After.ARCHIVED, "large") == 1
    assert moments(ledger) == []
    assert children_of(ledger, parent) == ["again", "early", "large"]


def test_what_is_still_to_be_followed_is_known_until_all_of_it_is_done_and_decided(ledger: Ledger) -> None:
    def still(*, with_queued: bool = False) -> list[tuple[str | None, str | None, tuple[str, ...]]]:
        found = ledger.generations.still_to_be_followed(with_queued=with_queued)
        return [(one.recipe, one.step, tuple(one.follow_up)) for one in found]

    archived(ledger)
    (short,) = archived(ledger, follow_up=("upscale1",))
    assert still() == [(None, None, ("upscale1",))]
    ledger.generations.create_follow_ups(one(ledger, short), [], [])
    queued(ledger, recipe=RECIPE)
    assert (still(), still(with_queued=True)) == ([], [(RECIPE.sha256, None, ())])
    ledger.generations.cancel([made.id for made in ledger.generations.page(state=State.QUEUED)])
    claims = submitted(ledger, 2, recipe=RECIPE)
    assert still() == [(RECIPE.sha256, None, ())], "each sort once"
    ledger.generations.apply_outcomes([success(claim) for claim in claims])
    ledger.assets.record([all_stored(claim) for claim in ledger.assets.claim(9, LEASE)])
    parents = [claim.generation.id for claim in claims]
    for parent in parents:
        follow(ledger, parent, After.SUCCEEDED)
    assert still() == [(RECIPE.sha256, None, ())]
    approvals = [ask(ledger, parent) for parent in parents]
    assert still() == [(RECIPE.sha256, None, ())], "decisions are open"
    for approval in approvals:
        decide(ledger, approval, ())
    assert still() == []


def test_eight_workers_at_each_moment_create_each_follow_up_once(ledger: Ledger) -> None:
    (parent,) = archived(ledger, recipe=RECIPE, batch="b")
    works = [(After.SUCCEEDED, "early"), (After.ARCHIVED, "large")] * 4
    made = at_once(*[lambda moment=moment, step=step: [follow(ledger, parent, moment, step)] for moment, step in works])
    assert sorted(flat(made)) == [0] * 6 + [1, 1]
    assert children_of(ledger, parent) == ["early", "large"]


def test_what_was_due_when_it_was_looked_for_may_not_be_any_more(ledger: Ledger) -> None:
    (claim,) = submitted(ledger, recipe=RECIPE)
    ledger.generations.apply_outcomes([failure(claim, reason="timeout")])
    (due,) = ledger.generations.due_steps(9)
    ledger.generations.apply_outcomes([success(claim)])
    assert (
        ledger.generations.create_follow_ups(due.generation, [child(due.generation, "again")], [], moment=due.moment)
        == 0
    )
    (other,) = archived(ledger, recipe=RECIPE)
    before = one(ledger, other)
    ledger.generations.delete([other], SOMEBODY)
    assert ledger.generations.create_follow_ups(before, [child(before, "large")], [], moment=After.ARCHIVED) == 0
    assert children_of(ledger, other) == []


def test_a_late_success_reopens_its_batch_until_all_of_its_recipe_is_done_and_decided(ledger: Ledger) -> None:
    (claim,) = submitted(ledger, recipe=RECIPE, batch="b")
    parent = claim.generation.id
    ledger.generations.apply_outcomes([failure(claim, reason="timeout")])
    assert not is_complete(ledger), "a step follows the failure"
    follow(ledger, parent, After.FAILED)
    assert is_complete(ledger)
    ledger.generations.apply_outcomes([success(claim)])
    assert not is_complete(ledger)
    ledger.assets.record([all_stored(claim) for claim in ledger.assets.claim(9, LEASE)])
    follow(ledger, parent, After.SUCCEEDED)
    assert not is_complete(ledger), "a step follows the archiving"
    approval = ask(ledger, parent)
    assert not is_complete(ledger), "a decision is open"
    decide(ledger, approval, (1,))
    assert not is_complete(ledger), "what was picked is to be made"
    ledger.generations.cancel([made.id for made in ledger.generations.story(parent).children])
    assert is_complete(ledger)
    told = [event.payload for event in events_of(ledger) if event.type == "batch.completed"]
    assert [(one["completion"], one["counts"]) for one in told] == [
        (1, {"failed": 1}),
        (2, {"archived": 1, "cancelled": 1}),
    ]


def test_a_failed_one_that_is_retried_does_not_get_its_fallback_twice(ledger: Ledger) -> None:
    (claim,) = submitted(ledger, recipe=RECIPE)
    ledger.generations.apply_outcomes([failure(claim)])
    follow(ledger, claim.generation.id, After.FAILED, "again")
    ledger.generations.retry([claim.generation.id])
    ledger.dispatch.run(PROVIDER, PLENTY)
    claims = ledger.submissions.claim(9, LEASE)
    ledger.submissions.record([Submitted(claim.attempt_id, accepted(claim)) for claim in claims], POLL_AFTER)
    ledger.generations.apply_outcomes([failure(made) for made in claims if made.generation.id == claim.generation.id])
    assert one(ledger, claim.generation.id).state is State.FAILED
    assert moments(ledger) == []


def test_all_moments_and_decisions_share_one_fan_out(ledger: Ledger) -> None:
    (parent,) = archived(ledger, recipe=RECIPE)
    assert follow(ledger, parent, After.SUCCEEDED, "early", most=3) == 1
    approval = ask(ledger, parent)
    assert decide(ledger, approval, (1, 2, 4)) == 2
    assert children_of(ledger, parent) == ["best", "best", "early"]
    assert refusals(ledger, parent) == ["best would be more than the 3 follow-ups allowed"]


def test_what_a_person_asked_for_takes_no_room_from_the_recipe(ledger: Ledger) -> None:
    (parent,) = archived(ledger, recipe=RECIPE)
    mine = [new(f"mine {number}", parent_id=parent, depth=1) for number in range(3)]
    ledger.generations.create(mine)
    assert follow(ledger, parent, After.ARCHIVED, "large", most=1) == 1


def test_steps_that_were_given_up_are_tried_again_and_create_nothing_twice(ledger: Ledger, clock: FakeClock) -> None:
    (parent,) = archived(ledger, recipe=RECIPE, batch="b")
    follow(ledger, parent, After.SUCCEEDED, "early", most=2)
    while not ledger.generations.refused_follow_ups(9):
        (due,) = ledger.generations.due_steps(9)
        ledger.generations.record_follow_up_failure(due.generation, "KeyError: 'zoom'")
        clock.advance(hours=1)
    assert is_complete(ledger) is False  # its child is open
    assert ledger.generations.retry_follow_ups(parent)
    assert moments(ledger) == [After.SUCCEEDED, After.ARCHIVED]
    assert follow(ledger, parent, After.SUCCEEDED, "early", most=2) == 0
    assert follow(ledger, parent, After.ARCHIVED, "large", "best", most=2) == 1
    assert children_of(ledger, parent) == ["early", "large"]


@pytest.mark.parametrize("rounds", range(3))
def test_a_decision_against_its_timeout_is_made_once(ledger: Ledger, rounds: int) -> None:
    approval = ask(ledger, *archived(ledger, recipe=RECIPE))
    start = Barrier(3)

    def call(numbers: tuple[int, ...], by: str) -> list[int]:
        start.wait()
        return [decide(ledger, approval, numbers, by)]

    made = flat(at_once(lambda: call((2,), "ada"), lambda: call((1, 4), "bob"), lambda: call((), "timeout")))
    (won,) = [created for created in made if created >= 0]
    decided = ledger.approvals.get(approval.id)
    assert won == {"ada": 1, "bob": 2, "timeout": 0}[str(decided.decided_by)]
    assert len(children_of(ledger, approval.generation_id)) == won


def test_nothing_follows_what_was_deleted_and_nobody_is_asked_about_it_any_more(ledger: Ledger) -> None:
    (parent,) = archived(ledger, recipe=RECIPE, batch="b")
    follow(ledger, parent, After.SUCCEEDED)
    approval, before = ask(ledger, parent), one(ledger, parent)
    assert not is_complete(ledger)
    ledger.generations.delete([parent], SOMEBODY)
    ended = ledger.approvals.get(approval.id)
    assert (ended.state, ended.decided_by, list(ended.picked or ())) == (ApprovalState.REJECTED, "ada", [])
    assert is_complete(ledger)
    with pytest.raises(RequestInvalid, match="was deleted: nothing can follow it"):
        ledger.approvals.decide(
            approval,
            ApprovalState.DECIDED,
            parent=before,
            picked=[1],
            by="bob",
            why="",
            children=[child(before, "best")],
        )


def test_a_cancelled_batch_asks_nobody_and_follows_nothing(ledger: Ledger) -> None:
    waits, due = archived(ledger, 2, recipe=RECIPE, batch="b")
    follow(ledger, waits, After.SUCCEEDED)
    approval = ask(ledger, waits)
    mine = str(one(ledger, waits).batch_id)
    assert ledger.batches.drop_follow_ups(mine) == (1, 1)
    assert ledger.approvals.get(approval.id).state is ApprovalState.REJECTED
    assert moments(ledger) == []
    assert is_complete(ledger)
    assert follow(ledger, due, After.ARCHIVED, "large") == 0
    assert ledger.batches.drop_follow_ups(mine) == (0, 0)
    (under_way,) = succeeded(ledger, recipe=RECIPE, batch="c")
    assert ledger.batches.drop_follow_ups(str(under_way.generation.batch_id)) == (1, 0)
    ledger.assets.record([all_stored(claim) for claim in ledger.assets.claim(9, LEASE)])
    assert (moments(ledger), is_complete(ledger, "c")) == ([], True)


def test_a_batch_is_complete_when_nothing_of_it_is_open_due_or_asked(ledger: Ledger, clock: FakeClock) -> None:
    (claim,) = submitted(ledger, recipe=replace(RECIPE, max_fan_out=9), batch="b")
    parent = claim.generation.id
    steps_done: list[bool] = [is_complete(ledger)]
    ledger.generations.apply_outcomes([success(claim)])
    follow(ledger, parent, After.SUCCEEDED)
    ledger.assets.record([all_stored(claim) for claim in ledger.assets.claim(9, LEASE)])
    steps_done.append(is_complete(ledger))  # due
    approval = ask(ledger, parent)
    steps_done.append(is_complete(ledger))  # asked
    assert decide(ledger, approval, (1,)) == 1
    steps_done.append(is_complete(ledger))  # its child is open
    assert steps_done == [False] * 4
    (made,) = ledger.generations.story(parent).children
    ledger.generations.cancel([made.id])
    assert is_complete(ledger)
