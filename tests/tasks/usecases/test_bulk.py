"""One action on many pictures: what would be done is what is done, and nothing that arrived later."""

from pathlib import Path

import pytest

from tasks.usecases.bulk import CANCEL, DELETE, RETRY, UPSCALE_PICKED, Chosen, Pick, Wish, carry_out_once, foresee
from tasks.usecases.gallery import GalleryRequest
from tasks.usecases.once import Once, once_for
from tests.factories import archived, failure, queued, submitted
from tests.tasks.cli import stories
from worker.errors import KeyReused, NotPossible, RequestInvalid
from worker.generation import State
from worker.ledger import Ledger
from worker.services import Services
from worker.settings.settings import load_settings

FAILED = GalleryRequest(state=State.FAILED)


@pytest.fixture
def settings_of_the_test(settings_of_the_test: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    settings_of_the_test.setenv("ACEDATACLOUD_API_TOKEN", "a-token-of-the-tests")
    return settings_of_the_test


def failed(ledger: Ledger, number: int) -> list[str]:
    claims = submitted(ledger, number)
    ledger.generations.apply_outcomes([failure(claim) for claim in claims])
    return [claim.generation.id for claim in claims]


def once(key: str = "a-key") -> Once:
    return once_for("console:ada", key, {"action": "any"})


def wish(action: str, **more: int) -> Wish:
    return Wish(action=action, by="ada", **more)


def states(ledger: Ledger, ids: list[str]) -> set[State]:
    return {one.state for one in ledger.generations.get(ids)}


def test_a_look_counts_what_is_possible_and_why_the_others_are_not(here: Services, ledger: Ledger) -> None:
    ids = failed(ledger, 3)
    awaited = stories.timed_out(ledger)
    stored = archived(ledger, 2)
    picks = tuple(Pick(one, None) for one in (*ids, awaited, *stored))
    seen = foresee(here, Chosen(picks=picks), wish(RETRY))
    assert (seen.number, seen.total, seen.newest) == (3, 6, max(one.generation_id for one in picks))
    assert seen.left == {"the provider may still deliver it, and charge for it": 1, "succeeded already": 2}
    assert states(ledger, ids) == {State.FAILED}


def test_what_arrived_after_the_look_is_left_alone(here: Services, ledger: Ledger) -> None:
    ids = failed(ledger, 2)
    seen = foresee(here, Chosen(request=FAILED), wish(RETRY))
    later = failed(ledger, 1)
    chosen = Chosen(request=FAILED, newest=seen.newest, most=seen.number)
    done = carry_out_once(here, chosen, wish(RETRY), once())
    assert (done.number, done.left) == (2, {})
    assert (states(ledger, ids), states(ledger, later)) == ({State.QUEUED}, {State.FAILED})


def test_more_than_was_seen_is_refused_and_nothing_done(here: Services, ledger: Ledger) -> None:
    (waiting,) = submitted(ledger)
    ids = failed(ledger, 1)
    newest = ids[0]
    # An older one that fails now was not seen, either.
    ledger.generations.apply_outcomes([failure(waiting)])
    with pytest.raises(NotPossible, match="1 more"):
        carry_out_once(here, Chosen(request=FAILED, newest=newest, most=1), wish(RETRY), once())
    assert states(ledger, ids) == {State.FAILED}


def test_a_double_click_acts_once(here: Services, ledger: Ledger) -> None:
    ids = failed(ledger, 2)
    chosen = Chosen(request=FAILED, newest=max(ids), most=2)
    first = carry_out_once(here, chosen, wish(RETRY), once())
    again = carry_out_once(here, chosen, wish(RETRY), once())
    assert (first.number, again.number) == (2, 2)
    assert (first.wakes != (), again.wakes, again.is_replayed) == (True, (), True)
    with pytest.raises(KeyReused):
        carry_out_once(here, chosen, wish(CANCEL), once_for("console:ada", "a-key", {"action": "other"}))


def test_cancel_takes_what_is_queued(here: Services, ledger: Ledger) -> None:
    sent = submitted(ledger)[0].generation.id
    waiting = [one.id for one in queued(ledger, 2)]
    picks = tuple(Pick(one, None) for one in (*waiting, sent))
    seen = foresee(here, Chosen(picks=picks), wish(CANCEL))
    assert (seen.number, seen.left) == (2, {"sent already, and perhaps charged": 1})
    done = carry_out_once(here, Chosen(picks=picks, newest=seen.newest, most=seen.number), wish(CANCEL), once())
    assert (done.number, done.left) == (2, {"sent already, and perhaps charged": 1})
    assert states(ledger, waiting) == {State.CANCELLED}


def test_an_action_is_created_once_for_each_parent_that_offers_it(here: Services, ledger: Ledger) -> None:
    ids = archived(ledger, 3)
    (running,) = submitted(ledger)
    picks = tuple(Pick(one, 0) for one in (*ids, running.generation.id))
    chosen = Chosen(picks=picks)
    seen = foresee(here, chosen, wish("upscale1"))
    assert (seen.number, seen.left) == (3, {"not archived: submitted": 1})
    done = carry_out_once(here, Chosen(picks=picks, newest=seen.newest, most=3), wish("upscale1"), once())
    again = carry_out_once(here, Chosen(picks=picks, newest=seen.newest, most=3), wish("upscale1"), once())
    assert (done.number, again.number) == (3, 3)
    children = ledger.generations.children(ids)
    assert len(children) == 3
    assert foresee(here, chosen, wish("upscale1")).left == {"it has upscale1 already": 3, "not archived: submitted": 1}
    assert foresee(here, chosen, wish("zoom_out_2x")).left == {
        "it does not offer zoom_out_2x": 3,
        "not archived: submitted": 1,
    }


def test_each_picked_picture_of_four_is_upscaled_by_its_own_number(here: Services, ledger: Ledger) -> None:
    (grid,) = archived(ledger, links=4)
    (single,) = archived(ledger)
    picks = (Pick(grid, 0), Pick(grid, 1), Pick(grid, 3), Pick(single, 0))
    seen = foresee(here, Chosen(picks=picks), wish(UPSCALE_PICKED))
    assert (seen.number, seen.total) == (2, 4)
    assert seen.left == {"it does not offer upscale4": 1, "it has no images of its own to choose from": 1}


def test_it_costs_at_most_what_was_said(
    settings_of_the_test: pytest.MonkeyPatch, tmp_path: Path, here: Services, ledger: Ledger
) -> None:
    ids = failed(ledger, 2)
    (tmp_path / "prices.yaml").write_text("prices: [{price: 0.05}]\n")
    settings_of_the_test.setenv("DARKROOM_PRICES", str(tmp_path / "prices.yaml"))
    here.settings = load_settings()
    seen = foresee(here, Chosen(request=FAILED), wish(RETRY))
    assert (seen.cost, seen.amount, seen.currency) == (100_000, "0.10", "USD")
    chosen = Chosen(request=FAILED, newest=seen.newest, most=2)
    with pytest.raises(NotPossible, match="nothing was done"):
        carry_out_once(here, chosen, wish(RETRY, max_cost=99_999), once())
    assert states(ledger, ids) == {State.FAILED}
    assert carry_out_once(here, chosen, wish(RETRY, max_cost=100_000), once()).number == 2


def test_delete_leaves_what_is_under_way(here: Services, ledger: Ledger) -> None:
    ids = archived(ledger, 2)
    running = submitted(ledger)[0].generation.id
    picks = tuple(Pick(one, 0) for one in (*ids, running))
    seen = foresee(here, Chosen(picks=picks), wish(DELETE))
    assert (seen.number, seen.left) == (2, {"still under way": 1})
    carry_out_once(here, Chosen(picks=picks, newest=seen.newest, most=2), wish(DELETE), once())
    assert states(ledger, ids) == {State.DELETED}


def test_an_unknown_action_is_refused(here: Services, ledger: Ledger) -> None:
    archived(ledger)
    with pytest.raises(RequestInvalid, match="unknown action"):
        foresee(here, Chosen(), wish("explode"))
