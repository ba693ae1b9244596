"""What people ask of the ledger."""

import pytest

from tests.clock import NOON, FakeClock
from tests.factories import LEASE, archived, claimed, delivery, failure, queued, submitted, success
from worker.errors import NotFound
from worker.generation import State
from worker.ledger import Ledger
from worker.ledger.changes import Changes
from worker.ledger.generations import queries
from worker.ledger.outcome import News
from worker.ledger.schema import batches


def pages(ledger: Ledger, **which) -> list[str]:
    """Page after page, as a person would leaf through them."""
    ids: list[str] = []
    while found := ledger.generations.page(limit=7, before=ids[-1] if ids else None, **which):
        ids += [generation.id for generation in found]
    return ids


def test_pages_show_everything_once_the_newest_first(ledger: Ledger):
    ids = [generation.id for generation in queued(ledger, 30)]
    assert pages(ledger) == ids[::-1]


def test_pages_stay_the_same_while_new_ones_are_written(ledger: Ledger):
    ids = [generation.id for generation in queued(ledger, 20)]
    first = ledger.generations.page(limit=10)
    queued(ledger, 5)
    second = ledger.generations.page(limit=10, before=first[-1].id)
    assert [generation.id for generation in first + second] == ids[::-1]


def test_pages_of_one_state_or_one_batch(ledger: Ledger):
    waiting = [generation.id for generation in queued(ledger, 10, batch="foxes")]
    ledger.generations.cancel(waiting[::2])
    other = [generation.id for generation in queued(ledger, 10)]
    assert pages(ledger, state=State.CANCELLED) == waiting[::2][::-1]
    assert pages(ledger, batch="foxes") == waiting[::-1]
    assert pages(ledger, batch=ledger.generations.get(waiting)[0].batch_id) == waiting[::-1]
    assert pages(ledger, batch="foxes", state=State.QUEUED) == waiting[1::2][::-1]
    assert pages(ledger, batch="owls") == []
    assert pages(ledger, state=State.QUEUED) == sorted(waiting[1::2] + other, reverse=True)


def test_batches_of_one_name_are_shown_together(ledger: Ledger):
    ids = [generation.id for _ in range(2) for generation in queued(ledger, 3, batch="foxes")]
    assert pages(ledger, batch="foxes") == sorted(ids, reverse=True)


def test_the_newest_batch_of_a_name_is_the_one_that_is_meant(ledger: Ledger, clock: FakeClock):
    old, new = (queued(ledger, 2, batch="foxes")[0].batch_id for _ in range(2))
    # Also where something was added to an older one meanwhile.
    queued(ledger, batch_id=old)
    assert ledger.generations.newest_batch("foxes") == new
    assert ledger.generations.newest_batch(str(old)) == old
    assert ledger.generations.newest_batch("owls") is None
    row = {"id": "batch_zz", "name": "foxes", "created_at": clock(), "unfinished": "request", "unfinished_at": clock()}
    with ledger.database.write() as connection:
        connection.execute(batches.insert().values(row))
    assert ledger.generations.newest_batch("foxes") == new


def test_moves_of_a_batch_are_told_once_in_their_order(ledger: Ledger, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(queries, "_MOVES_PAGE", 2)
    before = ledger.generations.last_move(is_settled=True)
    assert before is None
    made, others = queued(ledger, 3, batch="foxes"), queued(ledger, 3)
    batch = str(made[0].batch_id)
    first = ledger.generations.last_move(is_settled=True)
    assert first is not None
    ledger.generations.cancel([one.id for one in (others[0], made[2], made[0])])
    last = ledger.generations.last_move(is_settled=True)
    assert last is not None
    told = [
        (one.id, one.state, move.transition.from_state) for move, one in ledger.generations.moves(batch, first, last)
    ]
    assert told == [(one.id, State.CANCELLED, State.QUEUED) for one in (made[2], made[0])]
    assert ledger.generations.moves(batch, last, last) == []
    numbers = [move.number for move, _ in ledger.generations.moves(batch, 0, last)]
    assert numbers == sorted(set(numbers))
    assert len(numbers) == 5


def test_a_move_that_becomes_visible_late_is_not_passed_over(ledger: Ledger, monkeypatch: pytest.MonkeyPatch):
    if ledger.database.is_sqlite:
        pytest.skip("nobody else writes meanwhile")
    monkeypatch.setattr("worker.ledger.events.order._PATIENCE", 0.05)
    slow, quick = queued(ledger, 2)
    with ledger.database.write() as connection:
        changes = Changes(connection, NOON)
        changes.lock([slow.id])
        changes.move(slow.id, State.CANCELLED, "slowly")
        changes.flush()
        ledger.generations.cancel([quick.id])
        assert ledger.generations.last_move(is_settled=True) is None
        newest = ledger.generations.last_move(is_settled=False)
    assert ledger.generations.last_move(is_settled=True) == newest


def test_get_keeps_the_order_asked_for(ledger: Ledger):
    ids = [generation.id for generation in queued(ledger, 5)]
    asked = [ids[3], ids[0], ids[3]]
    assert [generation.id for generation in ledger.generations.get(asked)] == asked
    assert ledger.generations.get([]) == []


def test_an_unknown_id_is_named(ledger: Ledger):
    for question in (lambda: ledger.generations.get(["gen_x"]), lambda: ledger.generations.story("gen_x")):
        with pytest.raises(NotFound, match="there is no generation gen_x; `darkroom list` shows those that exist"):
            question()


def test_more_ids_than_one_statement_may_carry(ledger: Ledger):
    (known,) = queued(ledger)
    ids = [f"gen_{number}" for number in range(33_000)]
    assert len(ledger.generations.assets_of([*ids, known.id])) == 33_001


def test_counts_by_state(ledger: Ledger):
    made = queued(ledger, 5, batch="foxes")
    ledger.generations.cancel([made[0].id, made[1].id])
    queued(ledger, 3)
    assert ledger.generations.counts() == {State.QUEUED: 6, State.CANCELLED: 2}
    assert ledger.generations.counts(made[0].batch_id) == {State.QUEUED: 3, State.CANCELLED: 2}
    assert ledger.generations.counts("batch_x") == {}


def test_the_story_of_a_generation_tells_everything(ledger: Ledger, clock: FakeClock):
    (claim,) = claimed(ledger)
    clock.advance(10)
    ledger.callbacks.store([delivery(claim.attempt_id, b"12345", received_at=clock.now)])
    ledger.generations.apply_outcomes([success(claim, links=2)])
    story = ledger.generations.story(claim.generation.id)
    assert story.generation.state is State.SUCCEEDED
    assert [asset.index for asset in story.assets] == [0, 1]
    assert [(past.to_state, past.at, past.cause) for past in story.transitions] == [
        (State.QUEUED, NOON, "created"), (State.SUBMITTING, NOON, "attempt 1"),
        (State.SUCCEEDED, clock.now, "callback"),
    ]  # fmt: skip
    assert [(attempt.number, attempt.state) for attempt in story.attempts] == [(1, "succeeded")]
    assert [(note.attempt_id, note.received_at, note.bytes) for note in story.callbacks] == [
        (claim.attempt_id, clock.now, 5)
    ]
    assert [event.type for event in story.events] == ["generation.succeeded"]
    assert story.children == ()


def test_a_story_names_the_follow_ups(ledger: Ledger):
    (parent,) = archived(ledger)
    children = [queued(ledger, parent_id=parent)[0].id for _ in range(2)]
    assert ledger.generations.story(parent).children == tuple(sorted(children))


def test_dead_callbacks_are_listed_the_newest_first(ledger: Ledger):
    (claim,) = submitted(ledger)
    ledger.callbacks.store([delivery(f"nobody-{number}") for number in range(3)])
    for callback in ledger.callbacks.claim(3, LEASE):
        outcome = failure(claim).outcome
        ledger.generations.apply_outcomes([News(callback.attempt_id, outcome, "callback", callback_id=callback.id)])
    assert [note.attempt_id for note in ledger.callbacks.dead(limit=2)] == ["nobody-2", "nobody-1"]
