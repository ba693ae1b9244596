"""Thumbnails in the ledger: who makes which next, what became of it, and what is more urgent."""

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from tests.clock import FakeClock
from tests.factories import (
    LEASE,
    PLENTY,
    PROVIDER,
    all_stored,
    archived,
    delivery,
    queued,
    stored,
    submitted,
    succeeded,
)
from worker.generation import Asset, AssetState, Thumbnail, ThumbnailState
from worker.ledger import Ledger
from worker.ledger.assets import (
    LONGEST_THUMBNAIL_WAIT,
    Archived,
    ThumbnailClaim,
    ThumbnailMade,
    ThumbnailResult,
)
from worker.ledger.changes import Person
from worker.steps import Step

#: the highest bit of a hash is set, which databases take for a sign
MADE = ThumbnailMade(colour=0x0A1B2C, dhash=0xF00000000000000F, bytes=4000, width=320, height=240)


def wanted(ledger: Ledger, count: int = 1, **facts: object) -> list[str]:
    """Archived by this version."""
    ids = [claim.generation.id for claim in succeeded(ledger, count, **facts)]
    ledger.assets.record([all_stored(claim) for claim in ledger.assets.claim(count, LEASE)], thumbnails=True)
    return ids


def asset_of(ledger: Ledger, generation_id: str, index: int = 0) -> Asset:
    return ledger.generations.assets_of([generation_id])[generation_id][index]


def state_of(ledger: Ledger, generation_id: str) -> ThumbnailState | None:
    thumbnail = asset_of(ledger, generation_id).thumbnail
    return None if thumbnail is None else thumbnail.state


def claim_all(ledger: Ledger) -> list[ThumbnailClaim]:
    return ledger.assets.claim_thumbnails(100, LEASE)


def next_one(ledger: Ledger) -> str:
    return ledger.assets.claim_thumbnails(1, LEASE)[0].asset.generation_id


def is_due(ledger: Ledger) -> bool:
    found = ledger.maintenance.is_due(Step.THUMBNAIL)
    assert (Step.THUMBNAIL in ledger.maintenance.due()) is found
    return found


def test_each_image_that_is_stored_gets_one(ledger: Ledger):
    (generation_id,) = wanted(ledger)
    assert is_due(ledger)
    (claim,) = claim_all(ledger)
    assert not is_due(ledger)
    ledger.assets.record_thumbnails([ThumbnailResult(claim, MADE)])
    assert asset_of(ledger, generation_id).thumbnail == Thumbnail(
        state=ThumbnailState.MADE, colour=0x0A1B2C, dhash=0xF00000000000000F, bytes=4000, width=320, height=240
    )
    assert (is_due(ledger), claim_all(ledger)) == (False, [])


def test_films_and_texts_get_none_and_neither_does_anything_where_they_are_off(ledger: Ledger):
    archived(ledger)
    succeeded(ledger)
    (claim,) = ledger.assets.claim(9, LEASE)
    film = replace(stored(), content_type="video/mp4")
    ledger.assets.record([Archived(claim, (film,), described=True)], thumbnails=True)
    assert not is_due(ledger)


@pytest.mark.parametrize("found", [ThumbnailState.UNDECODABLE, ThumbnailState.MISSING])
def test_what_cannot_be_made_is_not_tried_again(ledger: Ledger, clock: FakeClock, found: ThumbnailState):
    (generation_id,) = wanted(ledger)
    ledger.assets.record_thumbnails([ThumbnailResult(claim_all(ledger)[0], found)])
    clock.advance(days=1)
    assert not ledger.assets.want_thumbnails([asset_of(ledger, generation_id).id])
    assert (is_due(ledger), claim_all(ledger)) == (False, [])
    assert state_of(ledger, generation_id) is found


def test_one_that_was_missing_is_made_once_its_image_is_repaired(ledger: Ledger):
    (generation_id,) = wanted(ledger)
    ledger.assets.record_thumbnails([ThumbnailResult(claim_all(ledger)[0], ThumbnailState.MISSING)])
    ledger.assets.note_repair(asset_of(ledger, generation_id), "missing")
    assert is_due(ledger)


def next_try(ledger: Ledger, clock: FakeClock) -> timedelta:
    """After how many times five seconds, at most two hours, something is due; then it is that time."""
    before = clock()

    def is_due_after(steps: int) -> bool:
        clock.now = before + steps * timedelta(seconds=5)
        return is_due(ledger)

    steps = bisect_left(range(1440), True, key=is_due_after)
    assert is_due_after(steps)
    return clock() - before


def test_a_passing_failure_is_tried_later_and_later(ledger: Ledger, clock: FakeClock):
    wanted(ledger)
    waits = []
    for _ in range(14):
        (claim,) = claim_all(ledger)
        ledger.assets.record_thumbnails([ThumbnailResult(claim, None)])
        waits.append(next_try(ledger, clock))
    assert waits[:3] == [timedelta(seconds=5), timedelta(seconds=10), timedelta(seconds=20)]
    assert waits == sorted(waits)
    assert waits[-1] == LONGEST_THUMBNAIL_WAIT


def test_a_claim_holds_for_its_lease_and_what_its_holder_says_then_changes_nothing(ledger: Ledger, clock: FakeClock):
    (generation_id,) = wanted(ledger)
    (first,) = claim_all(ledger)
    clock.advance(seconds=LEASE.total_seconds() - 1)
    ledger.assets.renew_thumbnails([first], LEASE)
    clock.advance(seconds=2)
    assert claim_all(ledger) == []
    clock.advance(seconds=LEASE.total_seconds())
    (second,) = claim_all(ledger)
    assert (second.was_left_behind, second.tries) == (True, 1)
    assert ledger.assets.record_thumbnails([ThumbnailResult(first, ThumbnailState.UNDECODABLE)]) == []
    assert state_of(ledger, generation_id) is ThumbnailState.WANTED
    ledger.assets.record_thumbnails([ThumbnailResult(second, MADE)])
    assert state_of(ledger, generation_id) is ThumbnailState.MADE


def test_what_is_given_back_is_free_at_once_and_was_no_try(ledger: Ledger):
    wanted(ledger)
    ledger.assets.give_back_thumbnails(claim_all(ledger))
    (again,) = claim_all(ledger)
    assert (again.was_left_behind, again.tries) == (False, 0)


def test_what_an_older_version_has_stored_is_made_when_somebody_looks_for_it_and_then_first(
    ledger: Ledger, clock: FakeClock
):
    (old,) = archived(ledger)
    assert not is_due(ledger)
    (first,) = wanted(ledger)
    clock.advance(seconds=1)
    (last,) = wanted(ledger)
    assert ledger.assets.want_thumbnails([asset_of(ledger, one).id for one in (old, last)])
    order = [next_one(ledger) for _ in range(3)]
    assert order == [old, last, first]


def test_a_thousand_who_ask_for_the_same_write_once(ledger: Ledger, monkeypatch: pytest.MonkeyPatch):
    (generation_id,) = archived(ledger)
    ids = [asset_of(ledger, generation_id).id]
    assert ledger.assets.want_thumbnails(ids)

    def no_writer(**_: object) -> None:
        pytest.fail("it writes again")

    monkeypatch.setattr(ledger.database, "write", no_writer)
    assert not ledger.assets.want_thumbnails(ids)
    assert not ledger.assets.want_thumbnails([])


def test_asking_does_not_hurry_what_waits_after_a_failure_or_is_under_way(ledger: Ledger):
    waiting, under_way = wanted(ledger, 2)
    claims = {claim.asset.generation_id: claim for claim in claim_all(ledger)}
    ledger.assets.record_thumbnails([ThumbnailResult(claims[waiting], None)])
    assert not ledger.assets.want_thumbnails([asset_of(ledger, one).id for one in (waiting, under_way)])
    assert claim_all(ledger) == []


def _callback(ledger: Ledger) -> None:
    (claim,) = submitted(ledger)
    ledger.callbacks.store([delivery(claim.attempt_id)])


def _dispatched(ledger: Ledger) -> None:
    queued(ledger)
    ledger.dispatch.run(PROVIDER, PLENTY)


def _unstored(ledger: Ledger) -> None:
    succeeded(ledger)


@pytest.mark.parametrize("happens", [_callback, _dispatched, _unstored])
def test_none_is_due_while_anything_is_that_may_be_lost_or_paid_for(ledger: Ledger, happens: Callable[[Ledger], None]):
    wanted(ledger)
    assert is_due(ledger)
    happens(ledger)
    assert not is_due(ledger)


def test_an_image_that_is_deleted_meanwhile_gets_none_and_its_thumbnail_is_to_be_removed(ledger: Ledger):
    one, other = wanted(ledger, 2)
    claims = claim_all(ledger)
    ledger.generations.delete([one], Person("somebody"))
    keys = ledger.assets.record_thumbnails([ThumbnailResult(claim, MADE) for claim in claims])
    # The factory stores both under the same key, which the other still uses.
    assert keys == []
    assert (state_of(ledger, one), state_of(ledger, other)) == (ThumbnailState.WANTED, ThumbnailState.MADE)
    assert asset_of(ledger, one).state is AssetState.DELETED
    assert (asset_of(ledger, one).thumbnail, claim_all(ledger)) == (Thumbnail(state=ThumbnailState.WANTED), [])


def test_the_key_of_one_that_is_deleted_meanwhile_and_nobody_shares_is_returned(ledger: Ledger):
    (only,) = wanted(ledger)
    claims = claim_all(ledger)
    ledger.generations.delete([only], Person("somebody"))
    assert ledger.assets.record_thumbnails([ThumbnailResult(claims[0], MADE)]) == [claims[0].asset.object_key]


def test_what_was_deleted_keeps_no_colour_and_no_hash(ledger: Ledger):
    (generation_id,) = wanted(ledger)
    ledger.assets.record_thumbnails([ThumbnailResult(claim_all(ledger)[0], MADE)])
    ledger.generations.delete([generation_id], Person("somebody"))
    thumbnail = asset_of(ledger, generation_id).thumbnail
    assert thumbnail is not None
    assert (thumbnail.state, thumbnail.colour, thumbnail.dhash) == (ThumbnailState.MADE, None, None)


def test_a_clock_that_was_wrong_holds_up_nothing(ledger: Ledger, clock: FakeClock):
    clock.advance(days=400)
    wanted(ledger, 2)
    ledger.assets.claim_thumbnails(1, LEASE)
    clock.advance(days=-400)
    ledger.maintenance.due()
    clock.advance(minutes=5)
    assert len(claim_all(ledger)) == 2


def test_the_images_of_a_batch_are_known_by_their_hashes(ledger: Ledger):
    first, second = wanted(ledger, 2, batch="shop")
    wanted(ledger, batch="other")
    claims = {claim.asset.generation_id: claim for claim in claim_all(ledger)}
    ledger.assets.record_thumbnails([ThumbnailResult(claims[second], MADE)])
    batch = str(ledger.generations.newest_batch("shop"))
    assert [tuple(one) for one in ledger.assets.fingerprints(batch, 9)] == [
        (first, 0, None),
        (second, 0, MADE.dhash),
    ]
    assert len(ledger.assets.fingerprints(batch, 1)) == 1
