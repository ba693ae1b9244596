"""What a client withdraws is forgotten; that it was there, what it cost and what it hashed to is not."""

import pytest
from sqlalchemy import select

from tests.clock import FakeClock
from tests.factories import (
    LEASE,
    PLENTY,
    POLL_AFTER,
    PROVIDER,
    accepted,
    all_stored,
    archived,
    attempts_of,
    claimed,
    delivery,
    events_of,
    failure,
    new,
    one,
    queued,
    resubmit,
    state_of,
    submitted,
    succeeded,
    success,
    task_of,
)
from tests.worker.ledger.purses import NO_CAP, totals
from worker.errors import NotFound, Uncertain
from worker.generation import State
from worker.ledger import Ledger
from worker.ledger.changes import Person
from worker.ledger.generations import Orphan, Place
from worker.ledger.outcome import News
from worker.ledger.schema import metadata
from worker.ledger.submission import Claim, Submitted

SOMEBODY = Person("somebody", "the client asked for it")
#: in everything that is written about one generation
SECRET = "aunt Mathilda in her garden"


def everything(ledger: Ledger) -> str:
    """All that is in the ledger, as text."""
    with ledger.database.read() as connection:
        return "\n".join(
            str(tuple(row)) for table in metadata.sorted_tables for row in connection.execute(select(table))
        )


def told_of_a_secret(ledger: Ledger) -> Claim:
    """Archived, with a callback, a repair and a follow-up that was refused, all of which speak of it."""
    wanted = new(SECRET, key="a", options={"note": SECRET}, follow_up=("upscale1",), input={"client": SECRET})
    ledger.generations.create([wanted])
    ledger.dispatch.run(PROVIDER, PLENTY, NO_CAP)
    (claim,) = ledger.submissions.claim(1, LEASE)
    ledger.submissions.record([Submitted(claim.attempt_id, accepted(claim))], POLL_AFTER)
    headers = {"User-Agent": SECRET}
    ledger.callbacks.store([delivery(claim.attempt_id, SECRET.encode(), headers=headers, remote_address=SECRET)])
    (callback,) = ledger.callbacks.claim(9, LEASE)
    news = success(claim, parent={"image_id": SECRET})
    ledger.generations.apply_outcomes(
        [
            News(
                attempt_id=claim.attempt_id,
                outcome=news.outcome,
                cause="callback",
                deadlines=news.deadlines,
                callback_id=callback.id,
            )
        ]
    )
    ledger.assets.record([all_stored(lent) for lent in ledger.assets.claim(1, LEASE)])
    ledger.generations.create_follow_ups(one(ledger, claim), [], [SECRET])
    (asset,) = ledger.generations.assets_of([claim.generation.id])[claim.generation.id]
    ledger.assets.note_repair(asset, SECRET)
    return claim


def test_nothing_of_it_is_left_but_that_it_was_there(ledger: Ledger, clock: FakeClock):
    claim = told_of_a_secret(ledger)
    before, money = one(ledger, claim), totals(ledger)
    assert everything(ledger).count(SECRET) >= 6
    clock.advance(days=3)
    assert ledger.generations.delete([before.id], SOMEBODY) == {}
    assert SECRET not in everything(ledger)
    assert SECRET.encode() not in everything(ledger).encode()
    after = one(ledger, claim)
    assert (after.state, after.prompt, after.options) == (State.DELETED, "", {})
    kept = ("id", "key", "task_id", "provider", "operation", "created_at", "submitted_at", "finished_at", "account")
    assert [getattr(after, name) for name in kept] == [getattr(before, name) for name in kept]
    assert totals(ledger) == money
    (asset,) = ledger.generations.assets_of([before.id])[before.id]
    assert (asset.state, asset.sha256, asset.bytes, asset.url) == ("deleted", "ab" * 32, 1234, "")
    story = ledger.generations.story(before.id)
    assert story.transitions[-1].cause == "deleted by somebody: the client asked for it"
    assert story.events[-1].type == "generation.deleted"
    assert all(callback.bytes == 0 for callback in story.callbacks)


def test_once_more_changes_nothing(ledger: Ledger):
    claim = told_of_a_secret(ledger)
    for _ in range(2):
        assert ledger.generations.delete([claim.generation.id], SOMEBODY) == {}
    assert events_of(ledger, claim).count("generation.deleted") == 1


def test_what_is_still_under_way_is_left_and_says_what_to_do(ledger: Ledger):
    (stored,) = archived(ledger)
    (sending,) = claimed(ledger)
    (sent,) = submitted(ledger)
    (unclear,) = claimed(ledger)
    ledger.submissions.record([Submitted(unclear.attempt_id, Uncertain("?", code="time_out"))], POLL_AFTER)
    (done,) = succeeded(ledger)
    (late,) = submitted(ledger)
    ledger.generations.apply_outcomes([failure(late, reason="timeout")])
    waiting = queued(ledger)[0].id
    ids = [*(claim.generation.id for claim in (sending, sent, unclear, done, late)), waiting, stored]
    before = ledger.generations.get(ids[:-1])
    obstacles = ledger.generations.obstacles_to_delete(ids)
    assert [obstacles[one].split(":")[0] for one in ids[:-1]] == [
        "it is submitting, under way",
        "it is submitted, under way",
        "the provider may have accepted it",
        "it is succeeded, under way",
        "its provider may still deliver it, and Darkroom is asking for it",
        "it is queued",
    ]
    assert ledger.generations.delete(ids, SOMEBODY) == obstacles
    assert ledger.generations.get(ids[:-1]) == before
    assert state_of(ledger, stored) is State.DELETED


def test_an_unknown_one_changes_nothing(ledger: Ledger):
    (stored,) = archived(ledger)
    with pytest.raises(NotFound):
        ledger.generations.delete([stored, "gen_x"], SOMEBODY)
    assert state_of(ledger, stored) is State.ARCHIVED


def test_a_late_success_brings_nothing_back_but_is_charged(ledger: Ledger):
    (claim,) = submitted(ledger)
    ledger.generations.apply_outcomes([failure(claim)])
    assert ledger.generations.delete([claim.generation.id], SOMEBODY) == {}
    assert ledger.generations.apply_outcomes([success(claim)]) == ["ignored"]
    assert state_of(ledger, claim) is State.DELETED
    assert ledger.generations.assets_of([claim.generation.id])[claim.generation.id] == []
    assert attempts_of(ledger, claim) == ["succeeded"]


def test_an_older_attempt_that_may_still_succeed_holds_it_back(ledger: Ledger):
    (claim,) = claimed(ledger)
    ledger.submissions.record([Submitted(claim.attempt_id, Uncertain("?", code="time_out"))], POLL_AFTER)
    resubmit(ledger, claim)
    ledger.generations.cancel([claim.generation.id])
    assert ledger.generations.delete([claim.generation.id], SOMEBODY)
    assert state_of(ledger, claim) is State.CANCELLED


def test_its_batch_is_described_again(ledger: Ledger):
    stored, other = archived(ledger, 2, batch="cats")
    described = ledger.assets.claim_manifest(LEASE)
    assert described
    ledger.assets.record_manifest(described)
    assert "manifest" not in ledger.maintenance.due()
    ledger.generations.delete([stored], SOMEBODY)
    assert "manifest" in ledger.maintenance.due()
    assert ledger.generations.counts() == {State.ARCHIVED: 1, State.DELETED: 1}
    assert state_of(ledger, other) is State.ARCHIVED


def test_an_object_that_another_generation_needs_is_known(ledger: Ledger):
    """The factories give all of them the same key, as duplicates have it."""
    first, second = archived(ledger, 2)
    ledger.generations.delete([first], SOMEBODY)
    assert [is_shared for _, is_shared in ledger.generations.objects_to_delete([first])] == [True]
    ledger.generations.delete([second], SOMEBODY)
    ((asset, is_shared),) = ledger.generations.objects_to_delete([first])
    assert not is_shared
    ledger.generations.record_objects_deleted([asset.id])
    assert ledger.generations.objects_to_delete([first]) == []
    assert len(ledger.generations.objects_to_delete([second])) == 1


def test_it_is_not_read_again_nor_copied_from(ledger: Ledger):
    (stored,) = archived(ledger)
    ledger.generations.delete([stored], SOMEBODY)
    assert ledger.assets.first_copy("ab" * 32) is None
    assert ledger.assets.sample_stored(9) == []
    assert ledger.assets.dead(9) == []


def test_follow_ups_that_stay_are_told(ledger: Ledger):
    (parent,) = archived(ledger)
    (child,) = queued(ledger, parent_id=parent, depth=1)
    assert ledger.generations.children([parent]) == [child.id]
    assert ledger.generations.children([parent, child.id]) == []


def test_its_task_is_still_known_and_not_rescued_as_a_new_one(ledger: Ledger):
    (claim,) = succeeded(ledger)
    ledger.assets.record([all_stored(lent) for lent in ledger.assets.claim(1, LEASE)])
    ledger.generations.delete([claim.generation.id], SOMEBODY)
    (placed,) = ledger.generations.match_tasks(
        PROVIDER, [Orphan(task_id=task_of(claim), request=new().request, created_at=None, attempt_id=None, marked=True)]
    )
    assert placed.place is Place.KNOWN
