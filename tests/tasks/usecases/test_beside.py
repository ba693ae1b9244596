"""The neighbours of a picture are those that the gallery shows beside it, whatever it is asked for."""

from collections.abc import Iterator

import pytest

from tasks.usecases.beside import Place, beside
from tasks.usecases.gallery import GalleryRequest, gallery
from tests.clock import FakeClock
from tests.factories import archived, failure, queued, submitted
from worker.generation import State
from worker.ledger import Ledger
from worker.services import Services
from worker.settings.settings import Settings


@pytest.fixture
def ledger(fresh_ledger: Ledger) -> Ledger:
    return fresh_ledger


@pytest.fixture
def here(ledger: Ledger, clock: FakeClock) -> Services:
    services = Services(Settings(database_url=ledger.database.url), clock)
    services.__dict__["ledger"] = ledger
    return services


def walk(here: Services, request: GalleryRequest, first: Place) -> Iterator[Place]:
    """To the right, as far as it goes."""
    place: Place | None = first
    while place is not None:
        yield place
        place = beside(here, request, place.generation_id, place.index).after


def shown(here: Services, request: GalleryRequest) -> list[Place]:
    return [Place(one.generation_id, one.index) for one in gallery(here, request).pictures]


@pytest.fixture
def some(ledger: Ledger, clock: FakeClock) -> Ledger:
    """Many at one moment, and some a moment before or years later; grids, sets of four, and what has no picture."""
    year = 365 * 86_400
    for seconds, number, links in ((1, 3, 1), (0.238, 70, 1), (year, 2, 4), (2 * year, 1, 4)):
        clock.advance(seconds)
        archived(ledger, number, links=links, batch=f"batch {number}")
    ledger.generations.apply_outcomes([failure(claim) for claim in submitted(ledger, 2)])
    queued(ledger, 1)
    return ledger


@pytest.mark.parametrize(
    "request_",
    [
        GalleryRequest(),
        GalleryRequest(batch="batch 2"),
        GalleryRequest(batch="batch 70"),
        GalleryRequest(state=State.FAILED),
        GalleryRequest(words="fox 1", provider="acedata"),
    ],
    ids=["all", "a batch", "a large batch", "a state", "words"],
)
def test_to_the_right_is_the_order_of_the_gallery_and_to_the_left_back(
    here: Services, some: Ledger, request_: GalleryRequest
) -> None:
    assert some is here.ledger
    wanted = shown(here, request_)
    assert len(wanted) > 1
    walked = list(walk(here, request_, wanted[0]))
    assert walked == wanted
    for right, left in zip(walked[1:], walked, strict=False):
        assert beside(here, request_, right.generation_id, right.index).before == left
    assert beside(here, request_, wanted[0].generation_id, wanted[0].index).before is None


def test_what_does_not_match_itself_has_neighbours_that_do(here: Services, some: Ledger) -> None:
    (newest, *_) = some.generations.page(limit=1)
    found = beside(here, GalleryRequest(), newest.id, None)
    assert found.before is None
    assert found.after == shown(here, GalleryRequest())[0]


def test_where_too_much_would_be_looked_at_there_is_no_neighbour(
    here: Services, some: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert some is here.ledger
    monkeypatch.setattr("worker.ledger.generations.gallery.MOST_LOOKED_AT", 1)
    (first, *_) = shown(here, GalleryRequest(words="fox"))
    found = beside(here, GalleryRequest(words="of a zebra"), first.generation_id, None)
    assert (found.before, found.after) == (None, None)
