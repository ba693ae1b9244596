"""One action on many pictures: what would be done is what is done, and nothing that arrived later."""

from collections.abc import Callable
from pathlib import Path
from time import sleep
from typing import Any
from unittest.mock import MagicMock

import pytest

from tasks.usecases import bulk
from tasks.usecases.bulk import (
    CANCEL,
    DELETE,
    RETRY,
    UPSCALE_PICKED,
    Chosen,
    Foreseen,
    Pick,
    Wish,
    carry_out_once,
    foresee,
)
from tasks.usecases.control import RetryRequest, retry
from tasks.usecases.delete import DeleteRequest, delete
from tasks.usecases.gallery import GalleryRequest
from tasks.usecases.once import Once, once_for
from tasks.usecases.person import Person
from tasks.usecases.selection import Selection
from tasks.usecases.submit import submit_once
from tests.broken_off import broken_off
from tests.factories import LEASE, PLENTY, POLL_AFTER, PROVIDER, accepted, archived, failure, queued, submitted
from tests.tasks.cli import stories
from worker.errors import ArchiveError, CommitUnknown, KeyReused, LedgerUnavailable, NotPossible, RequestInvalid
from worker.generation import State
from worker.ledger import Ledger
from worker.ledger.marks import Mark
from worker.ledger.submission import Submitted
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


def wish(action: str, max_cost: int | None = None) -> Wish:
    return Wish(action=action, by="ada", max_cost=max_cost)


def as_seen(seen: Foreseen, **asked: Any) -> Chosen:
    return Chosen(newest=seen.newest, seen_at=seen.seen_at, most=seen.number, **asked)


def dying(work: Callable[..., object]) -> Callable[..., object]:
    def die(*given: object) -> object:
        work(*given)
        raise LedgerUnavailable("it is away")

    return die


def states(ledger: Ledger, ids: list[str]) -> set[State]:
    return {one.state for one in ledger.generations.get(ids)}


def test_a_look_counts_what_is_possible_and_why_the_others_are_not(here: Services, ledger: Ledger) -> None:
    ids = failed(ledger, 3)
    awaited = stories.timed_out(ledger)
    stored = archived(ledger, 2)
    picks = tuple(Pick(one, None) for one in (*ids, awaited, *stored))
    seen = foresee(here, Chosen(picks=picks), wish(RETRY))
    assert (seen.number, seen.total, seen.newest) == (3, 6, max(one.generation_id for one in picks))
    assert seen.left == {"the provider may still deliver it, and charge for it": 1, "already succeeded": 2}
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


def test_what_changed_after_the_look_takes_nobodys_place(here: Services, ledger: Ledger) -> None:
    (waiting,) = submitted(ledger)
    first, second = failed(ledger, 2)
    seen = foresee(here, Chosen(request=FAILED), wish(RETRY))
    # As many as were seen are possible, but not the same.
    retry(here, RetryRequest(selection=Selection(ids=(second,))))
    sleep(0.001)
    ledger.generations.apply_outcomes([failure(waiting)])
    done = carry_out_once(here, as_seen(seen, request=FAILED), wish(RETRY), once())
    assert (done.number, done.left) == (1, {"changed since the preview": 1})
    assert states(ledger, [first]) == {State.QUEUED}
    assert states(ledger, [waiting.generation.id]) == {State.FAILED}


def test_a_delete_leaves_what_ended_after_the_look(here: Services, ledger: Ledger) -> None:
    first, second = archived(ledger, 2)
    (running,) = submitted(ledger)
    picks = tuple(Pick(one, 0) for one in (first, second, running.generation.id))
    seen = foresee(here, Chosen(picks=picks), wish(DELETE))
    assert (seen.number, seen.images) == (2, 2)
    delete(here, DeleteRequest(Selection(ids=(second,)), Person("bob")), lambda _: None)
    sleep(0.001)
    ledger.generations.apply_outcomes([failure(running)])
    done = carry_out_once(here, as_seen(seen, picks=picks), wish(DELETE), once())
    assert (done.number, done.left) == (1, {"changed since the preview": 2})
    assert states(ledger, [first]) == {State.DELETED}
    assert states(ledger, [running.generation.id]) == {State.FAILED}


@pytest.mark.parametrize("action", [DELETE, "upscale1"])
def test_what_was_marked_after_the_look_is_left_alone(here: Services, ledger: Ledger, action: str) -> None:
    first, second = archived(ledger, 2)
    request = GalleryRequest(mark=Mark.REJECTED)
    ledger.marks.set(second, 0, Mark.REJECTED, "ada")
    seen = foresee(here, Chosen(request=request), wish(action))
    sleep(0.001)
    ledger.marks.set(second, 0, Mark.PICKED, "bob")
    ledger.marks.set(first, 0, Mark.REJECTED, "bob")
    done = carry_out_once(here, as_seen(seen, request=request), wish(action), once())
    assert (seen.number, done.number) == (1, 0)
    assert states(ledger, [first, second]) == {State.ARCHIVED}


def test_repeated_after_a_death_a_retry_leaves_what_failed_again(
    here: Services, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = failed(ledger, 2)
    seen = foresee(here, Chosen(request=FAILED), wish(RETRY))
    chosen = as_seen(seen, request=FAILED)
    # It died between its work and its answer.
    monkeypatch.setattr(bulk, "retry", dying(retry))
    with pytest.raises(LedgerUnavailable):
        carry_out_once(here, chosen, wish(RETRY), once())
    monkeypatch.undo()
    assert states(ledger, ids) == {State.QUEUED}
    ledger.dispatch.run(PROVIDER, PLENTY)
    claims = ledger.submissions.claim(2, LEASE)
    ledger.submissions.record([Submitted(one.attempt_id, accepted(one)) for one in claims], POLL_AFTER)
    ledger.generations.apply_outcomes([failure(one) for one in claims])
    assert states(ledger, ids) == {State.FAILED}
    assert carry_out_once(here, chosen, wish(RETRY), once()).number == 0
    assert states(ledger, ids) == {State.FAILED}


def test_two_who_want_the_same_at_one_moment_pay_once(
    here: Services, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = archived(ledger, 2)
    chosen = Chosen(picks=tuple(Pick(one, 0) for one in ids))
    theirs: list[str] = []

    def meanwhile(*given: Any) -> Any:
        try:
            carry_out_once(here, chosen, wish("upscale1"), once("another-key"))
        except NotPossible as error:
            theirs.append(str(error))
        return submit_once(*given)

    monkeypatch.setattr(bulk, "submit_once", meanwhile)
    assert carry_out_once(here, chosen, wish("upscale1"), once()).number == 2
    monkeypatch.undo()
    assert "right now" in theirs[0]
    assert carry_out_once(here, chosen, wish("upscale1"), once("another-key")).number == 0
    assert len(ledger.generations.children(ids)) == 2


def test_a_double_click_acts_once(here: Services, ledger: Ledger) -> None:
    ids = failed(ledger, 2)
    chosen = Chosen(request=FAILED, newest=max(ids), most=2)
    first = carry_out_once(here, chosen, wish(RETRY), once())
    again = carry_out_once(here, chosen, wish(RETRY), once())
    assert (first.number, again.number) == (2, 2)
    assert (first.wakes != (), again.wakes, again.is_replayed) == (True, (), True)
    with pytest.raises(KeyReused):
        carry_out_once(here, chosen, wish(CANCEL), once_for("console:ada", "a-key", {"action": "other"}))


@pytest.mark.parametrize(
    ("action", "may_be_more"), [(RETRY, True), (CANCEL, True), (DELETE, True), ("upscale1", False)]
)
def test_one_that_was_broken_off_says_that_it_may_have_done_more_unless_it_counts_that(
    here: Services, ledger: Ledger, action: str, may_be_more: bool
) -> None:
    ids = [one.id for one in queued(ledger, 2)] if action == CANCEL else failed(ledger, 2)
    if action == "upscale1":
        ids = archived(ledger, 2)
    picks = tuple(Pick(one, None if action == CANCEL else 0) for one in ids)
    chosen = as_seen(foresee(here, Chosen(picks=picks), wish(action)), picks=picks)
    with broken_off():
        carry_out_once(here, chosen, wish(action), once())
    for _ in range(2):
        done = carry_out_once(here, chosen, wish(action), once())
        assert (done.number, done.may_be_more) == (0 if may_be_more else 2, may_be_more)


def test_a_ledger_that_goes_away_in_the_middle_has_not_done_nothing(
    here: Services, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed(ledger, 3)
    chosen = as_seen(foresee(here, Chosen(request=FAILED), wish(RETRY)), request=FAILED)
    monkeypatch.setattr(bulk, "_AT_ONCE", 2)
    left = [retry]

    def goes_away(*given: Any) -> Any:
        if not left:
            raise LedgerUnavailable("it is away")
        return left.pop()(*given)

    monkeypatch.setattr(bulk, "retry", goes_away)
    with pytest.raises(CommitUnknown, match=r"^2 of 3 were done before this; of the next: it is away$"):
        carry_out_once(here, chosen, wish(RETRY), once())


def test_cancel_takes_what_is_queued(here: Services, ledger: Ledger) -> None:
    sent = submitted(ledger)[0].generation.id
    waiting = [one.id for one in queued(ledger, 2)]
    picks = tuple(Pick(one, None) for one in (*waiting, sent))
    seen = foresee(here, Chosen(picks=picks), wish(CANCEL))
    assert (seen.number, seen.left) == (2, {"already sent, and perhaps charged": 1})
    done = carry_out_once(here, Chosen(picks=picks, newest=seen.newest, most=seen.number), wish(CANCEL), once())
    assert (done.number, done.left) == (2, {"already sent, and perhaps charged": 1})
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
    assert foresee(here, chosen, wish("upscale1")).left == {"it already has upscale1": 3, "not archived: submitted": 1}
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


def test_a_limit_holds_when_the_prices_are_gone(here: Services, ledger: Ledger) -> None:
    ids = failed(ledger, 1)
    with pytest.raises(NotPossible, match="prices are no longer set"):
        carry_out_once(here, Chosen(request=FAILED), wish(RETRY, max_cost=50_000), once())
    assert states(ledger, ids) == {State.FAILED}


@pytest.mark.parametrize("action", [RETRY, CANCEL, DELETE])
def test_of_many_a_few_are_in_memory_at_once(
    here: Services, ledger: Ledger, monkeypatch: pytest.MonkeyPatch, action: str
) -> None:
    """50,000 with their prompts are 100 MB, which the process does not have."""
    ids = failed(ledger, 5) if action == RETRY else []
    ids += archived(ledger, 5) if action == DELETE else [one.id for one in queued(ledger, 5)]
    read, get = [], type(ledger.generations).get
    monkeypatch.setattr(type(ledger.generations), "get", lambda of, some: (read.append(len(some)), get(of, some))[1])
    monkeypatch.setattr(bulk, "_AT_ONCE", 2)
    monkeypatch.setattr("tasks.usecases.delete._READ_AT_ONCE", 2)
    picks = tuple(Pick(one, None) for one in ids)
    seen = foresee(here, Chosen(picks=picks), wish(action))
    done = carry_out_once(here, as_seen(seen, picks=picks), wish(action), once())
    assert (seen.number, done.number) == (5, 5)
    assert max(read) == 2


def test_an_image_is_deleted_with_all_of_its_generation_and_the_look_says_so(here: Services, ledger: Ledger) -> None:
    (grid,) = archived(ledger, links=4)
    assert foresee(here, Chosen(picks=(Pick(grid, 1),)), wish(DELETE)).images == 4


def test_files_that_remain_are_named_with_what_deletes_them(
    here: Services, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    (one,) = archived(ledger)

    away = MagicMock()
    away.delete.side_effect = ArchiveError("the bucket is away")
    monkeypatch.setitem(here.__dict__, "archive", away)
    wanted = Wish(action=DELETE, by="ada", with_objects=True)
    with pytest.raises(ArchiveError, match=f"files of 1 remain .* `darkroom delete --objects --yes {one}`"):
        carry_out_once(here, Chosen(picks=(Pick(one, 0),)), wanted, once())
    assert states(ledger, [one]) == {State.DELETED}


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
