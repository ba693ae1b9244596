"""Images of a batch that look alike, found by their hashes."""

import random
from collections import defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.usecases import near_duplicates as module
from tasks.usecases.near_duplicates import MOST_DISTANCE, Image, near_duplicates
from tests.examples import examples
from tests.factories import LEASE, all_stored, succeeded
from worker.errors import NotFound, RequestInvalid
from worker.ledger import Ledger
from worker.ledger.assets import ThumbnailMade, ThumbnailResult
from worker.services import Services


def batch_with(ledger: Ledger, *hashes: int | None, name: str = "shop") -> list[str]:
    """A generation with one image for each hash; None: its thumbnail is not made."""
    ids = [claim.generation.id for claim in succeeded(ledger, len(hashes), batch=name)]
    ledger.assets.record([all_stored(claim) for claim in ledger.assets.claim(len(hashes), LEASE)], thumbnails=True)
    claims = {claim.asset.generation_id: claim for claim in ledger.assets.claim_thumbnails(len(hashes), LEASE)}
    for generation_id, dhash in zip(ids, hashes, strict=True):
        if dhash is not None:
            made = ThumbnailMade(colour=0, dhash=dhash, bytes=1, width=1, height=1)
            ledger.assets.record_thumbnails([ThumbnailResult(claims[generation_id], made)])
    return ids


def flipped(dhash: int, *bits: int) -> int:
    for bit in bits:
        dhash ^= 1 << bit
    return dhash


def test_images_that_differ_in_few_bits_are_one_group(here: Services, ledger: Ledger):
    one, other = 0x0123456789ABCDEF, 0xFEDCBA9876543210
    near, far = flipped(one, 0, 13, 26, 39, 52, 63), flipped(one, *range(0, 63, 9))
    ids = batch_with(ledger, one, other, near, far, other, None, other)
    batch_with(ledger, one, name="another")
    found = near_duplicates(here, "shop")
    assert found.groups == (
        (Image(ids[1], 0), Image(ids[4], 0), Image(ids[6], 0)),
        (Image(ids[0], 0), Image(ids[2], 0)),
    )
    assert (found.compared, found.unknown, found.is_complete) == (6, 1, True)


def test_two_belong_together_through_one_between_them(here: Services, ledger: Ledger):
    ids = batch_with(ledger, 0, 0b1111_0000, 0b1111)
    assert near_duplicates(here, "shop", 3).groups == ()
    assert near_duplicates(here, "shop", 4).groups == (tuple(Image(one, 0) for one in ids),)


def test_a_wrong_distance_and_an_unknown_batch_are_told(here: Services):
    with pytest.raises(RequestInvalid, match="from 0 to 10 bits, not 11"):
        near_duplicates(here, "shop", MOST_DISTANCE + 1)
    with pytest.raises(NotFound):
        near_duplicates(here, "nowhere")


def test_of_a_batch_that_is_too_large_the_oldest_are_compared(
    here: Services, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "MOST_IMAGES", 2)
    ids = batch_with(ledger, 5, 5, 5)
    found = near_duplicates(here, "shop")
    assert (found.groups, found.is_complete) == ((tuple(Image(one, 0) for one in ids[:2]),), False)


def one_by_one(hashes: list[int], distance: int) -> set[frozenset[int]]:
    """The groups, found by comparing all with all."""
    group = {one: {one} for one in hashes}
    for one in hashes:
        for other in hashes:
            if (one ^ other).bit_count() <= distance and group[one] is not group[other]:
                group[one] |= group[other]
                for each in group[other]:
                    group[each] = group[one]
    return {frozenset(each) for each in group.values()}


@settings(max_examples=examples(200))
@given(st.randoms(use_true_random=False), st.integers(0, MOST_DISTANCE))
def test_none_is_missed_that_comparing_all_with_all_would_find(chance: random.Random, distance: int):
    hashes = {chance.getrandbits(64) for _ in range(12)}
    for one in list(hashes):
        near = chance.sample(range(64), chance.randint(0, distance + 1))
        hashes.add(flipped(one, *near))
    found, is_done = module._joined(list(hashes), distance)
    assert is_done
    assert {frozenset(each) for each in found} == one_by_one(list(hashes), distance)


def test_ten_thousand_images_are_compared_with_few_of_the_others():
    """What it costs does not grow with all pairs of them, of which there are 50 million."""
    chance = random.Random(7)
    hashes = list({chance.getrandbits(64) for _ in range(10_000)})
    groups, is_done = module._joined(hashes, module.DISTANCE)
    assert is_done
    sizes: dict[int, int] = defaultdict(int)
    for group in groups:
        sizes[len(group)] += 1
    assert sizes[1] > 9_900


def test_images_that_all_share_a_part_of_their_hash_cost_no_more_than_is_allowed():
    chance = random.Random(7)
    hashes = list({chance.getrandbits(20) for _ in range(10_000)})
    assert not module._joined(hashes, module.DISTANCE)[1]
