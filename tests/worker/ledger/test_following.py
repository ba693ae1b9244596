"""Follow-ups are created once, and a batch is complete once, whoever comes last."""

from dataclasses import replace
from typing import Any

from tests.factories import (
    LEASE,
    all_stored,
    archived,
    at_once,
    claimed,
    failure,
    flat,
    new,
    one,
    queued,
    submitted,
    succeeded,
    success,
)
from worker.generation import Generation, State
from worker.ledger import Ledger
from worker.ledger.assets import BatchClaim
from worker.ledger.generations import NewGeneration
from worker.ledger.schema import batches, events


def child(parent: Generation, action: str = "upscale1", **facts) -> NewGeneration:
    dedupe = f"{parent.id}/{action}"
    return new(
        parent.prompt, action=action, parent_id=parent.id, depth=1, batch_id=parent.batch_id, dedupe=dedupe, **facts
    )


def children_of(ledger: Ledger, generation_id: str) -> list[str]:
    return [child.id for child in ledger.generations.story(generation_id).children]


def told(ledger: Ledger, name: str) -> list[str]:
    """The batches that this event was told of."""
    with ledger.database.read() as connection:
        return [row.batch_id for row in connection.execute(events.select()) if row.type == name]


def completions(ledger: Ledger) -> list[dict[str, Any]]:
    with ledger.database.read() as connection:
        found = connection.execute(events.select().where(events.c.type == "batch.completed").order_by(events.c.id))
        return [row.payload for row in found]


def manifest_of(ledger: Ledger) -> BatchClaim:
    claim = ledger.assets.claim_manifest(LEASE)
    assert claim is not None
    return claim


def follow(ledger: Ledger, generation_id: str, actions: tuple[str, ...] = ("upscale1",)) -> int:
    parent = one(ledger, generation_id)
    return ledger.generations.create_follow_ups(parent, [child(parent, action) for action in actions], [])


def test_only_archived_generations_with_a_recipe_are_due(ledger: Ledger):
    archived(ledger, 2)
    (parent,) = archived(ledger, follow_up=("upscale1",))
    succeeded(ledger, follow_up=("upscale1",))
    assert [generation.id for generation in ledger.generations.due_follow_ups(10)] == [parent]
    assert ledger.maintenance.due() == ["archive", "follow_up"]


def test_follow_ups_are_created_and_the_parent_is_done(ledger: Ledger):
    (parent,) = archived(ledger, follow_up=("upscale:all",), batch="b")
    assert follow(ledger, parent, ("upscale1", "upscale2")) == 2
    first, second = (one(ledger, generation_id) for generation_id in children_of(ledger, parent))
    assert (first.action, first.parent_id, first.depth, first.state) == ("upscale1", parent, 1, State.QUEUED)
    assert (second.action, second.batch_id) == ("upscale2", one(ledger, parent).batch_id)
    assert ledger.generations.due_follow_ups(10) == []


def test_eight_at_once_create_them_once(ledger: Ledger):
    parents = archived(ledger, 3, follow_up=("upscale:all",))
    for parent in parents:
        created = at_once(*[lambda parent=parent: [follow(ledger, parent, ("upscale1", "upscale2"))]] * 8)
        assert sorted(flat(created)) == [0] * 7 + [2]
        assert len(ledger.generations.story(parent).children) == 2


def test_why_a_follow_up_is_missing_is_told(ledger: Ledger):
    (parent,) = archived(ledger, follow_up=("upscale9",))
    assert ledger.generations.create_follow_ups(one(ledger, parent), [], ["upscale9 is not offered"]) == 0
    (event,) = [event for event in ledger.generations.story(parent).events if event.type == "follow_up.refused"]
    assert event.payload == {"reason": "upscale9 is not offered"}
    assert ledger.generations.due_follow_ups(10) == []


def test_a_batch_is_complete_when_its_last_generation_ends(ledger: Ledger):
    claims = submitted(ledger, 3, batch="b")
    batch_id = one(ledger, claims[0]).batch_id
    ledger.generations.apply_outcomes([failure(claims[0])])
    ledger.generations.apply_outcomes([success(claims[1])])
    ledger.generations.cancel([claims[2].generation.id])
    ledger.assets.record([all_stored(claim) for claim in ledger.assets.claim(9, LEASE)])
    assert told(ledger, "batch.completed") == []
    ledger.generations.apply_outcomes([failure(claims[2])])
    assert told(ledger, "batch.completed") == [batch_id]


def test_a_batch_of_which_everything_was_cancelled_is_complete(ledger: Ledger):
    made = queued(ledger, 3, batch="b")
    ledger.generations.cancel([generation.id for generation in made])
    assert told(ledger, "batch.completed") == [made[0].batch_id]


def test_a_batch_is_complete_after_its_follow_ups(ledger: Ledger):
    (parent,) = archived(ledger, batch="b", follow_up=("upscale1",))
    batch_id = one(ledger, parent).batch_id
    assert told(ledger, "batch.completed") == []
    follow(ledger, parent)
    assert told(ledger, "batch.completed") == []
    ledger.generations.cancel(children_of(ledger, parent))
    assert told(ledger, "batch.completed") == [batch_id]


def test_a_batch_is_complete_when_no_follow_up_can_be_created(ledger: Ledger):
    (parent,) = archived(ledger, batch="b", follow_up=("upscale9",))
    ledger.generations.create_follow_ups(one(ledger, parent), [], ["upscale9 is not offered"])
    assert told(ledger, "batch.completed") == [one(ledger, parent).batch_id]


def test_the_last_ones_of_a_batch_that_end_at_the_same_moment_complete_it_once(ledger: Ledger):
    """Each of their transactions sees the others as open still, unless the batch is locked first."""
    for _ in range(5):
        claims = submitted(ledger, 8, batch="b")
        flat(at_once(*[lambda claim=claim: ledger.generations.apply_outcomes([failure(claim)]) for claim in claims]))
    completed = told(ledger, "batch.completed")
    assert len(completed) == len(set(completed)) == 5


def test_a_batch_that_a_person_reopens_is_complete_once_more(ledger: Ledger):
    first, second = submitted(ledger, 2, batch="b")
    ledger.generations.apply_outcomes([failure(first), failure(second)])
    ledger.generations.retry([first.generation.id])
    assert len(told(ledger, "batch.completed")) == 1
    ledger.generations.cancel([first.generation.id])
    assert len(told(ledger, "batch.completed")) == 2


def test_a_late_success_completes_its_batch_again_and_this_is_told_with_what_it_came_to(ledger: Ledger):
    (claim,) = submitted(ledger, batch="b")
    ledger.generations.apply_outcomes([failure(claim)])
    ledger.assets.record_manifest(manifest_of(ledger))
    ledger.generations.apply_outcomes([success(claim)])
    assert ledger.assets.claim_manifest(LEASE) is None, "it is about to come to something else"
    ledger.assets.record([all_stored(held) for held in ledger.assets.claim(9, LEASE)])
    assert [(told["completion"], told["counts"]) for told in completions(ledger)] == [
        (1, {"failed": 1}),
        (2, {"archived": 1}),
    ]
    assert manifest_of(ledger).id == one(ledger, claim).batch_id


def test_what_was_complete_before_anybody_counted_is_told_to_be_complete_again(ledger: Ledger):
    (claim,) = submitted(ledger, batch="teapots")
    ledger.generations.apply_outcomes([failure(claim)])
    with ledger.database.write() as connection:
        # As migration 0034 finds it, and as a version before it leaves it.
        connection.execute(batches.update().values(completions=0))
    ledger.generations.apply_outcomes([success(claim)])
    ledger.assets.record([all_stored(held) for held in ledger.assets.claim(9, LEASE)])
    assert [told["completion"] for told in completions(ledger)] == [1, 2]


def test_what_a_person_lets_follow_in_a_complete_batch_completes_it_again(ledger: Ledger):
    (parent,) = archived(ledger, batch="b")
    batch_id = one(ledger, parent).batch_id
    (made,) = ledger.generations.create([child(one(ledger, parent))])
    assert ledger.generations.batch_facts(str(batch_id)).completed_at is None
    ledger.generations.cancel([made.id])
    assert [told["counts"] for told in completions(ledger)] == [{"archived": 1}, {"archived": 1, "cancelled": 1}]


def test_generations_outside_of_batches_complete_none(ledger: Ledger):
    (claim,) = claimed(ledger)
    ledger.generations.apply_outcomes([replace(failure(claim), cause="poll")])
    assert told(ledger, "batch.completed") == []
