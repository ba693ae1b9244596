"""The gallery's pages, without a browser."""

from datetime import UTC, date, datetime, timedelta

import pytest

from tasks.usecases.gallery import GalleryRequest, all_ids, count, gallery
from tests.factories import archived, failure, new, submitted, succeeded
from tests.tasks.cli import stories
from worker.errors import NotFound, RequestInvalid
from worker.generation import State
from worker.ledger import Ledger
from worker.services import Services


def test_a_first_look_shows_what_has_results_and_nothing_else(here: Services, ledger: Ledger) -> None:
    ledger.generations.apply_outcomes([failure(claim) for claim in submitted(ledger)])
    stored, (coming,) = archived(ledger), succeeded(ledger)
    ledger.generations.create([new("not yet")])
    pictures = gallery(here, GalleryRequest()).pictures
    assert [(one.generation_id, one.is_stored) for one in pictures] == [
        (coming.generation.id, False),
        (stored[0], True),
    ]
    assert (pictures[1].width, pictures[1].height, pictures[1].bytes) == (1024, 768, 1234)


def test_a_state_shows_all_that_is_in_it_with_the_reason(here: Services, ledger: Ledger) -> None:
    ledger.generations.apply_outcomes([failure(claim) for claim in submitted(ledger)])
    (one,) = gallery(here, GalleryRequest(state=State.FAILED)).pictures
    assert (one.index, one.kind, one.why) == (None, None, "the prompt is forbidden")


def test_a_text_shows_its_first_lines(here: Services, ledger: Ledger) -> None:
    stories.told(ledger, prompts=["a fox in the snow", *(f"line {number}" for number in range(20))])
    (one,) = gallery(here, GalleryRequest()).pictures
    assert one.text is not None
    assert one.text.startswith("a fox in the snow\nline 0")
    assert len(one.text.splitlines()) == 8


def test_a_page_ends_with_a_whole_generation(here: Services, ledger: Ledger) -> None:
    for _ in range(3):
        succeeded(ledger, links=4)
    seen: list[str] = []
    request = GalleryRequest()
    while True:
        page = gallery(here, request, limit=3)
        assert len(page.pictures) == 4
        seen.append(page.pictures[0].generation_id)
        if page.next is None:
            break
        request = GalleryRequest(cursor=page.next)
    assert len(set(seen)) == 3
    assert page.searched_back_to is None


def test_a_day_is_one_of_utc_and_the_last_one_is_included(here: Services, ledger: Ledger) -> None:
    archived(ledger)
    today = datetime.now(UTC).date()
    day = timedelta(days=1)

    def number(since: date | None, until: date | None) -> int:
        return len(gallery(here, GalleryRequest(since=since, until=until)).pictures)

    assert number(today, today) == 1
    assert number(today + day, None) == 0
    assert number(None, today - day) == 0


def test_what_nothing_could_match_is_said(here: Services) -> None:
    for wrong, told in (
        (GalleryRequest(provider="nobody"), "unknown provider"),
        (GalleryRequest(words="x" * 201), "longer than 200"),
        (GalleryRequest(since=date(2026, 5, 4), until=date(2026, 5, 3)), "swap them"),
        (GalleryRequest(cursor="gen_x' OR 1=1"), "start with the first"),
    ):
        with pytest.raises(RequestInvalid, match=told):
            gallery(here, wrong)
    with pytest.raises(NotFound):
        gallery(here, GalleryRequest(batch="nowhere"))


def test_all_that_match_leaves_out_what_arrived_later(here: Services, ledger: Ledger) -> None:
    first = archived(ledger, 3, batch="spring")
    archived(ledger, 2, batch_id=ledger.generations.newest_batch("spring"))
    request = GalleryRequest(batch="spring")
    assert len(list(all_ids(here, request))) == count(here, request) == 5
    assert list(all_ids(here, request, until=max(first))) == sorted(first, reverse=True)
