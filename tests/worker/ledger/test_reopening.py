"""A decision is taken back with all that it has created, as long as nothing of it may have been sent."""

from datetime import timedelta

import pytest
from sqlalchemy import select

from tests.clock import FakeClock
from tests.factories import LEASE, PLENTY, POLL_AFTER, PROVIDER, archived, at_once, one
from tests.worker.ledger.test_recipe_steps import DAY, RECIPE, ask, child
from worker.errors import NotPossible, NotTaken
from worker.generation import Generation, State
from worker.ledger import Ledger
from worker.ledger.approvals import Approval, ApprovalState
from worker.ledger.changes import Person
from worker.ledger.schema import batches
from worker.ledger.submission import Submitted
from worker.recipes import After

HELD = timedelta(seconds=20)


def decide(ledger: Ledger, approval: Approval, *numbers: int, held_for: timedelta = timedelta()) -> int:
    parent = one(ledger, approval.generation_id)
    to = ApprovalState.DECIDED if numbers else ApprovalState.REJECTED
    children = [child(parent, "best", number) for number in numbers]
    done = ledger.approvals.decide(
        approval, to, parent=parent, picked=numbers, by="ada", why="", children=children, most=3, held_for=held_for
    )
    return done.created


def children_of(ledger: Ledger, approval: Approval) -> list[Generation]:
    found = ledger.generations.story(approval.generation_id).children
    return ledger.generations.get(sorted(child.id for child in found)) if found else []


def states(ledger: Ledger, approval: Approval) -> list[State]:
    return [one.state for one in children_of(ledger, approval)]


def reopen(ledger: Ledger, approval: Approval, by: str = "grace") -> int:
    return ledger.approvals.reopen(ledger.approvals.get(approval.id), by)


def dispatched(ledger: Ledger) -> int:
    return ledger.dispatch.run(PROVIDER, PLENTY)


@pytest.fixture
def approval(ledger: Ledger) -> Approval:
    return ask(ledger, *archived(ledger, recipe=RECIPE))


def test_what_it_created_is_cancelled_and_somebody_is_asked_again(ledger: Ledger, approval: Approval):
    assert decide(ledger, approval, 1, 2, held_for=HELD) == 2
    assert reopen(ledger, approval) == 2
    assert states(ledger, approval) == [State.CANCELLED, State.CANCELLED]
    assert ledger.approvals.get(approval.id) == approval
    (first, _) = children_of(ledger, approval)
    (*_, last) = ledger.generations.transitions_of([first.id])[first.id]
    assert last.cause == "the decision was undone by grace"


def test_the_same_decision_creates_it_anew_and_what_was_taken_back_takes_no_room(ledger: Ledger, approval: Approval):
    for _ in range(3):
        decide(ledger, approval, 1, 2, 3)
        reopen(ledger, approval)
    assert decide(ledger, approval, 1, 2, 3) == 3
    assert states(ledger, approval).count(State.QUEUED) == 3
    assert dispatched(ledger) == 3


def test_a_rejection_is_taken_back(ledger: Ledger, approval: Approval):
    decide(ledger, approval)
    assert reopen(ledger, approval) == 0
    assert ledger.approvals.get(approval.id).state is ApprovalState.ASKED


def test_what_is_held_is_not_sent_before_its_time_and_then_without_anybody(
    ledger: Ledger, approval: Approval, clock: FakeClock
):
    decide(ledger, approval, 1, held_for=HELD)
    assert dispatched(ledger) == 0
    clock.advance(HELD.total_seconds())
    assert "dispatch" in ledger.maintenance.due()
    assert dispatched(ledger) == 1


def test_what_is_dispatched_and_not_sent_can_still_be_taken_back(ledger: Ledger, approval: Approval):
    decide(ledger, approval, 1)
    assert dispatched(ledger) == 1
    assert reopen(ledger, approval) == 1
    assert ledger.submissions.claim(9, LEASE) == []


def test_what_may_have_been_sent_stands_and_nothing_else_of_it_is_cancelled(ledger: Ledger, approval: Approval):
    decide(ledger, approval, 1, 2)
    dispatched(ledger)
    (claim,) = ledger.submissions.claim(1, LEASE)
    with pytest.raises(NotPossible, match=f"its follow-up {claim.generation.id} is submitting"):
        reopen(ledger, approval)
    assert sorted(states(ledger, approval)) == [State.QUEUED, State.SUBMITTING]
    assert ledger.approvals.get(approval.id).state is ApprovalState.DECIDED


def test_what_came_back_from_its_provider_was_sent(ledger: Ledger, approval: Approval):
    decide(ledger, approval, 1)
    dispatched(ledger)
    (claim,) = ledger.submissions.claim(1, LEASE)
    ledger.submissions.record([Submitted(claim.attempt_id, NotTaken("full", code="queue_full"))], POLL_AFTER)
    assert states(ledger, approval) == [State.QUEUED]
    with pytest.raises(NotPossible):
        reopen(ledger, approval)


def test_one_that_somebody_cancelled_meanwhile_can_be_decided_again(ledger: Ledger, approval: Approval):
    decide(ledger, approval, 1)
    ledger.generations.cancel([children_of(ledger, approval)[0].id])
    reopen(ledger, approval)
    assert decide(ledger, approval, 1) == 1


def test_after_its_time_a_decision_stands(ledger: Ledger, approval: Approval, clock: FakeClock):
    decide(ledger, approval, 1)
    clock.advance(DAY.total_seconds())
    with pytest.raises(NotPossible, match="was over at"):
        reopen(ledger, approval)


def test_a_deleted_picture_has_nothing_left_to_decide(ledger: Ledger, approval: Approval):
    decide(ledger, approval)
    ledger.generations.delete([approval.generation_id], Person("ada"))
    with pytest.raises(NotPossible, match="deleted"):
        reopen(ledger, approval)


def test_only_a_decision_can_be_taken_back_and_only_the_one_that_was_seen(ledger: Ledger, approval: Approval):
    with pytest.raises(NotPossible, match="no longer decided"):
        reopen(ledger, approval)
    decide(ledger, approval)
    seen = ledger.approvals.get(approval.id)
    reopen(ledger, approval)
    decide(ledger, approval, 1)
    with pytest.raises(NotPossible, match="decided again"):
        ledger.approvals.reopen(seen, "grace")
    assert states(ledger, approval) == [State.QUEUED]


def test_a_batch_that_was_complete_waits_again(ledger: Ledger):
    (parent,) = archived(ledger, recipe=RECIPE, batch="spring")
    ledger.generations.create_follow_ups(one(ledger, parent), [], [], moment=After.SUCCEEDED)
    approval = ask(ledger, parent)

    def completed() -> bool:
        with ledger.database.read() as connection:
            return connection.execute(select(batches.c.completed_at)).scalar_one() is not None

    decide(ledger, approval)
    assert completed()
    reopen(ledger, approval)
    assert not completed()
    decide(ledger, approval)
    assert completed()


@pytest.mark.parametrize("_", range(4))
def test_either_it_is_sent_or_it_is_taken_back(ledger: Ledger, approval: Approval, _: int):
    """Whoever is first: the worker that claims it, or the person."""
    decide(ledger, approval, 1)
    dispatched(ledger)

    def send() -> int:
        return len(ledger.submissions.claim(1, LEASE))

    def take_back() -> int:
        try:
            return reopen(ledger, approval)
        except NotPossible:
            return 0

    sent, taken_back = at_once(send, take_back)
    assert {sent, taken_back} == {0, 1}
    asked = ledger.approvals.get(approval.id).state is ApprovalState.ASKED
    assert asked == bool(taken_back)
    assert states(ledger, approval) == [State.CANCELLED if taken_back else State.SUBMITTING]
