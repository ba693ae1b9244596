"""Writing generations down: all or none, and a repetition is harmless."""

import pytest

from tests.clock import NOON, FakeClock
from tests.factories import archived, at_once, flat, new, queued
from worker.errors import RequestInvalid
from worker.generation import Generation, GenerationRequest, Operation, State
from worker.ledger import Ledger
from worker.ledger.generations import NewGeneration


def test_what_was_asked_is_written_down(ledger: Ledger):
    request = GenerationRequest(
        operation=Operation.UPSCALE,
        prompt="a red fox",
        options={"mode": "fast", "n": [1, 2.5, None]},
        action="upscale2",
        parent={"image_id": "i7"},
    )
    (parent,) = queued(ledger)
    wanted = NewGeneration(
        provider="acedata",
        request=request,
        key="fox",
        dedupe="key/fox",
        priority=5,
        follow_up=("zoom_out_2x",),
        parent_id=parent.id,
        depth=1,
    )
    (made,) = ledger.generations.create([wanted], batch="foxes")
    assert made == ledger.generations.get([made.id])[0]
    assert made == Generation(
        id=made.id, provider="acedata", operation=Operation.UPSCALE, action="upscale2", prompt="a red fox",
        options={"mode": "fast", "n": [1, 2.5, None]}, state=State.QUEUED, batch_id=made.batch_id, parent_id=parent.id,
        depth=1, follow_up=("zoom_out_2x",), priority=5, key="fox", task_id=None, progress=None, reason=None,
        message=None, tries=0, actions=(), parent_handle={"image_id": "i7"}, handle={}, created_at=NOON,
        updated_at=NOON, submitted_at=None, finished_at=None,
    )  # fmt: skip
    assert made.batch_id
    assert ledger.generations.page(batch="foxes") == [made]
    (first,) = ledger.generations.transitions_of([made.id])[made.id]
    assert (first.from_state, first.to_state, first.at) == (None, State.QUEUED, NOON)


def test_ids_follow_the_order_in_which_a_batch_was_written(ledger: Ledger):
    made = queued(ledger, 50, batch="big")
    assert [generation.id for generation in made] == sorted(generation.id for generation in made)
    assert [generation.prompt for generation in made] == [f"fox {number}" for number in range(50)]


def test_nothing_asked_nothing_written(ledger: Ledger):
    assert ledger.generations.create([], batch="empty") == []


def test_the_same_key_gives_the_same_generation(ledger: Ledger):
    (first,) = ledger.generations.create([new(key="fox", options={"n": (1, 2)})])
    again = ledger.generations.create([new(key="fox", options={"n": [1, 2]}), new("an owl", key="owl")])
    assert again[0].id == first.id
    assert again[1].prompt == "an owl"
    assert len(ledger.generations.page()) == 2
    assert len(ledger.generations.transitions_of([first.id])[first.id]) == 1


def test_a_key_returns_what_became_of_its_generation(ledger: Ledger):
    (done,) = archived(ledger, key="fox")
    (again,) = ledger.generations.create([new("fox 0", key="fox")])
    assert (again.id, again.state) == (done, State.ARCHIVED)


def test_the_same_key_twice_in_one_list_is_one_generation(ledger: Ledger):
    first, second, other = ledger.generations.create([new(key="fox"), new(key="fox"), new()], batch="b")
    assert first == second != other
    assert len(ledger.generations.page()) == 2


@pytest.mark.parametrize(
    "other",
    [new("a blue fox", key="fox"), new(key="fox", options={"mode": "turbo"}), new(key="fox", action="upscale1")],
    ids=["prompt", "options", "action"],
)
def test_a_key_that_stands_for_something_else_is_refused_and_nothing_is_written(ledger: Ledger, other: NewGeneration):
    ledger.generations.create([new(key="fox")])
    with pytest.raises(RequestInvalid, match=r"the key 'fox' already belongs to gen_\w+, a different request"):
        ledger.generations.create([new("an owl"), other], batch="b")
    assert [generation.prompt for generation in ledger.generations.page()] == ["a red fox"]
    assert ledger.generations.page(batch="b") == []


def test_two_different_requests_with_one_key_in_one_list_are_refused(ledger: Ledger):
    with pytest.raises(RequestInvalid, match="'fox'"):
        ledger.generations.create([new(key="fox"), new("an owl", key="fox")])
    assert ledger.generations.page() == []


def test_no_empty_batch_is_left_when_every_key_is_known(ledger: Ledger, clock: FakeClock):
    wanted = [new(f"fox {number}", key=str(number)) for number in range(3)]
    made = ledger.generations.create(wanted, batch="foxes")
    clock.advance(60)
    assert ledger.generations.create(wanted, batch="foxes") == made
    assert ledger.generations.counts(made[0].batch_id) == {State.QUEUED: 3}


def test_eight_who_write_the_same_keys_at_once_write_them_once(ledger: Ledger):
    """In different order, too: whoever waits for the other must not be waited for by it."""
    forwards = [new(f"fox {number}", key=str(number)) for number in range(300)]
    results = at_once(
        *[lambda wanted=wanted: ledger.generations.create(wanted) for wanted in [forwards, forwards[::-1]] * 4]
    )
    assert len({generation.id for generation in flat(results)}) == 300
    assert len(ledger.generations.page(limit=500)) == 300


def test_of_eight_who_want_different_things_under_one_key_one_gets_it(ledger: Ledger):
    results = at_once(
        *[lambda number=number: ledger.generations.create([new(f"fox {number}", key="fox")]) for number in range(8)]
    )
    refused = [result for result in results if isinstance(result, RequestInvalid)]
    assert len(refused) == 7
    assert len(ledger.generations.page()) == 1
