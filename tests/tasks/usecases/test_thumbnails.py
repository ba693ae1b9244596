"""How an image is shown small, and how its thumbnail is asked for, without a bucket."""

import pytest

from tasks.usecases.thumbnails import ask_for, find_thumbnail, shown
from tests.factories import archived, succeeded
from tests.worker.ledger.test_thumbnails import MADE, asset_of, wanted
from worker.errors import NotFound
from worker.generation import ThumbnailState
from worker.ledger import Ledger
from worker.ledger.assets import ThumbnailResult
from worker.runtime import LEASE
from worker.services import Services
from worker.steps import Step


def test_one_that_is_made_has_its_colour_and_size(ledger: Ledger):
    (generation_id,) = wanted(ledger)
    ledger.assets.record_thumbnails([ThumbnailResult(one, MADE) for one in ledger.assets.claim_thumbnails(9, LEASE)])
    one = shown(asset_of(ledger, generation_id))
    assert (one.state, one.colour, one.width, one.height) == (ThumbnailState.MADE, "#0a1b2c", 320, 240)


def test_one_that_is_not_made_yet_has_the_size_that_it_will_have(ledger: Ledger):
    (generation_id,) = wanted(ledger)
    asset = asset_of(ledger, generation_id)
    one = shown(asset)
    assert asset.width
    assert asset.height
    assert (one.state, one.colour) == (ThumbnailState.WANTED, None)
    assert one.width
    assert one.height
    assert max(one.width, one.height) <= 320
    assert one.width / one.height == pytest.approx(asset.width / asset.height, rel=0.02)


def test_what_is_not_stored_has_none(here: Services, ledger: Ledger):
    (claim,) = succeeded(ledger)
    for generation_id, index in ((claim.generation.id, 0), (claim.generation.id, 1), ("gen_unknown", 0)):
        with pytest.raises(NotFound, match=f"no asset {index} of {generation_id} is stored"):
            find_thumbnail(here, generation_id, index)
    assert ask_for(here, [asset_of(ledger, claim.generation.id)]) == ()


def test_a_page_of_images_is_asked_for_at_once_and_once(here: Services, ledger: Ledger):
    page = [asset_of(ledger, one) for one in archived(ledger, 5)]
    assert ask_for(here, page) == (Step.THUMBNAIL,)
    assert ask_for(here, page) == ()
    assert len(ledger.assets.claim_thumbnails(9, LEASE)) == 5
