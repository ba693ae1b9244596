"""Review: a decision is made once, leads on, and can be taken back while nothing of it was sent."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from werkzeug.test import TestResponse

from tasks.usecases.bulk import Chosen, Pick, ids_of, settled
from tasks.usecases.gallery import GalleryRequest
from tests import factories
from tests.asking import a_recipe, asked
from tests.broken_off import broken_off
from tests.clock import FakeClock
from tests.factories import LEASE, PLENTY, PROVIDER, archived
from tests.webhook.console.forms import Console, once_of, text_of
from webhook.api.app import create_app
from worker.generation import State
from worker.ledger import Ledger
from worker.ledger.approvals import Approval, ApprovalState
from worker.ledger.marks import Mark
from worker.services import Services

HOSTILE = '<script>alert(1)</script> "onload=alert(1) {{ 7*7 }} https://cdn.example/a.png?token=secret-of-somebody'
Ask = Callable[..., list[Approval]]


@pytest.fixture
def here(services_for: Callable[..., Services], tmp_path: Path) -> Services:
    prices = tmp_path / "prices.yaml"
    prices.write_text("currency: USD\nprices: [{provider: acedata, price: 0.05}]\n")
    return services_for(darkroom_prices=prices)


@pytest.fixture
def console(here: Services, rung: list[str]) -> Console:
    return Console(create_app(here))


@pytest.fixture
def ask(ledger: Ledger, tmp_path: Path) -> Ask:
    return lambda count=1, more="", **facts: asked(ledger, a_recipe(tmp_path, more=more), count, **facts)


def sent(console: Console, path: str, **form: Any) -> TestResponse:
    return console.send(path.removesuffix("/undo"), path, **form)


def approve(console: Console, approval: Approval, *numbers: int, **more: Any) -> TestResponse:
    return sent(console, f"/review/{approval.id}", decision="approve", pick=[str(one) for one in numbers], **more)


def children(ledger: Ledger, approval: Approval) -> list[State]:
    return [one.state for one in ledger.generations.story(approval.generation_id).children]


def test_the_page_says_what_is_decided_what_it_costs_and_until_when(console: Console, ask: Ask):
    (approval,) = ask(more=", max_cost: 0.12", key="sku-7", batch="spring")
    page = text_of(console.get(f"/review/{approval.id}"))
    for expected in (
        *("sku-7", "spring", "fox 0", "0.05 USD each", "0.12 USD; more is not started", "3 days"),
        *("1 of 1 left", 'data-amount="50000"', f'src="/originals/{approval.generation_id}/0"', "then nothing follows"),
    ):
        assert expected in page, expected


def test_review_begins_with_the_oldest_and_keeps_what_was_chosen(console: Console, ask: Ask):
    first, second = ask(2)
    assert console.get("/review").headers["Location"] == f"/review/{first.id}?of=2"
    spring = ask(1, batch="spring")[0]
    assert console.get("/review?batch=spring").headers["Location"] == f"/review/{spring.id}?batch=spring&of=1"
    page = text_of(console.get(f"/review/{second.id}?recipe=shop"))
    assert f'href="/review/{first.id}?recipe=shop&amp;of=3"' in page
    assert f'href="/review/{spring.id}?recipe=shop&amp;of=3"' in page
    assert console.get("/review?batch=nowhere").status_code == 404


def test_a_decision_leads_to_the_next_and_from_the_last_to_what_was_passed_over(
    console: Console, ask: Ask, ledger: Ledger, rung: list[str]
):
    first, second = ask(2)
    answer = approve(console, second, 2, 4, why="the light", of="2")
    assert (answer.status_code, answer.headers["Location"]) == (303, f"/review/{first.id}?of=2&done={second.id}")
    decided = ledger.approvals.get(second.id)
    assert (decided.picked, decided.decided_by, decided.why) == ([2, 4], "local", "the light")
    assert "dispatch" in rung
    page = text_of(console.get(answer.headers["Location"]))
    assert "<strong>approved 2, 4</strong>" in page
    assert "1 of 2 left" in page
    answer = sent(console, f"/review/{first.id}", decision="reject")
    assert answer.headers["Location"] == f"/review?done={first.id}"
    assert "Nothing waits for a decision" in text_of(console.get(answer.headers["Location"]))


def test_nothing_is_sent_for_some_seconds_and_then_by_itself(
    console: Console, ask: Ask, ledger: Ledger, clock: FakeClock
):
    (approval,) = ask()
    approve(console, approval, 1)
    assert ledger.dispatch.run(PROVIDER, PLENTY) == 0
    clock.advance(20)
    assert ledger.dispatch.run(PROVIDER, PLENTY) == 1


def test_undo_brings_the_decision_back(console: Console, ask: Ask, ledger: Ledger):
    (approval,) = ask()
    approve(console, approval, 1, 3)
    answer = sent(console, f"/review/{approval.id}/undo")
    assert answer.headers["Location"] == f"/review/{approval.id}"
    assert ledger.approvals.get(approval.id).state is ApprovalState.ASKED
    assert children(ledger, approval) == [State.CANCELLED] * 2
    assert "2 follow-ups were cancelled before anything was sent" in text_of(console.get(f"/review/{approval.id}"))
    assert "Undone" not in text_of(console.get(f"/review/{approval.id}")), "told once"


def test_what_was_sent_is_not_taken_back_and_the_page_says_why(
    console: Console, ask: Ask, ledger: Ledger, clock: FakeClock
):
    (approval,) = ask()
    approve(console, approval, 1)
    clock.advance(20)
    ledger.dispatch.run(PROVIDER, PLENTY)
    ledger.submissions.claim(1, LEASE)
    answer = sent(console, f"/review/{approval.id}/undo")
    assert answer.status_code == 409
    assert "It cannot be undone." in text_of(answer)
    assert "cancel what is still queued, or start what is missing" in text_of(answer)
    assert ledger.approvals.get(approval.id).state is ApprovalState.DECIDED


@pytest.mark.parametrize("same", [False, True])
def test_of_two_reviewers_the_second_hears_who_was_first_and_goes_on(
    console: Console, ask: Ask, ledger: Ledger, same: bool
):
    first, second = ask(2)
    form = {
        "once": once_of(console.get(f"/review/{first.id}")),
        "decision": "approve",
        "pick": ["2", "4"] if same else ["1"],
    }
    parent = ledger.generations.get([first.generation_id])[0]
    ledger.approvals.decide(first, ApprovalState.DECIDED, parent=parent, picked=[2, 4], by="Ada", why="")
    answer = console.post(f"/review/{first.id}", form)
    assert answer.headers["Location"] == f"/review/{second.id}?done={first.id}&late=1"
    page = text_of(console.get(answer.headers["Location"]))
    assert "<strong>Already decided by Ada</strong>: approved 2, 4" in page
    assert 'id="undo"' not in page, "it is not theirs to take back by a key"


def test_whoever_lost_the_answer_hears_that_it_was_their_own_decision(console: Console, ask: Ask, ledger: Ledger):
    (approval,) = ask()
    form = {"once": once_of(console.get(f"/review/{approval.id}")), "decision": "approve", "pick": ["2"]}
    parent = ledger.generations.get([approval.generation_id])[0]
    # As if this process had died between its commit and its answer.
    ledger.approvals.decide(approval, ApprovalState.DECIDED, parent=parent, picked=[2], by="local", why="")
    answer = console.post(f"/review/{approval.id}", form)
    assert answer.headers["Location"] == f"/review?done={approval.id}"
    page = text_of(console.get(answer.headers["Location"]))
    assert "You <strong>approved 2</strong>" in page
    assert "changed nothing" not in page


def test_the_same_form_again_decides_nothing_more(console: Console, ask: Ask, ledger: Ledger):
    (approval,) = ask()
    form = {"once": once_of(console.get(f"/review/{approval.id}")), "decision": "approve", "pick": ["1"]}
    to = [console.post(f"/review/{approval.id}", form).headers["Location"] for _ in range(2)]
    assert to == [f"/review?done={approval.id}"] * 2
    sent(console, f"/review/{approval.id}/undo")
    console.post(f"/review/{approval.id}", form)
    assert ledger.approvals.get(approval.id).state is ApprovalState.ASKED, "an old form is no new decision"


@pytest.mark.parametrize(
    ("form", "told"),
    [
        ({"decision": "approve"}, "Select at least one image"),
        ({"decision": "approve", "pick": "7"}, "There is no image 7"),
        ({"decision": "approve", "pick": "x"}, "Give the images as numbers"),
        ({}, "Choose whether to approve or to reject"),
    ],
)
def test_what_cannot_be_meant_decides_nothing(
    console: Console, ask: Ask, ledger: Ledger, form: dict[str, str], told: str
):
    (approval,) = ask()
    answer = sent(console, f"/review/{approval.id}", **form)
    assert answer.status_code == 422
    assert told in text_of(answer)
    assert ledger.approvals.get(approval.id).state is ApprovalState.ASKED


def test_a_form_without_its_key_is_refused(console: Console, ask: Ask):
    (approval,) = ask()
    answer = console.post(f"/review/{approval.id}", {"decision": "reject"})
    assert answer.status_code == 400
    assert "This form is incomplete" in text_of(answer)


def test_an_expired_one_says_what_happened_and_has_no_buttons(console: Console, ask: Ask, clock: FakeClock):
    (approval,) = ask()
    clock.advance(3 * 86400)
    page = text_of(console.get(f"/review/{approval.id}"))
    assert "Too late to decide" in page
    assert "so nothing follows" in page
    assert "decision" not in re.findall(r'name="(\w+)"', page)


def test_nothing_hostile_is_executed_and_no_link_is_shown(console: Console, ask: Ask, monkeypatch: pytest.MonkeyPatch):
    request = factories.GenerationRequest(operation=factories.Operation.IMAGINE, prompt=HOSTILE)
    with monkeypatch.context() as patch:
        patch.setattr(factories, "GenerationRequest", lambda **_: request)
        (approval,) = ask(key=HOSTILE[:60], batch="<b>")
    approve(console, approval, 1, why=HOSTILE)
    for path in (f"/review/{approval.id}", "/review/decisions", f"/review?done={approval.id}"):
        page = text_of(console.get(path))
        assert "<script>alert" not in page
        assert "<b>" not in page
        assert "secret-of-somebody" not in page


def test_who_decided_what_is_listed_with_its_note(console: Console, ask: Ask):
    first, second = ask(2)
    approve(console, first, 2, why="the light")
    sent(console, f"/review/{second.id}", decision="reject")
    page = text_of(console.get("/review/decisions"))
    assert page.index("rejected all") < page.index("approved 2"), "the latest first"
    assert "<strong>local</strong>" in page
    assert "the light" in page
    assert page.count("/undo") == 2


def test_a_batch_is_culled_picture_by_image_id(console: Console, ledger: Ledger, clock: FakeClock):
    ids = sorted(archived(ledger, 2, batch="spring"))
    (batch_id,) = {one.batch_id for one in ledger.generations.get(ids)}
    path = f"/review/batch/{batch_id}"

    def marks() -> list[str]:
        return [f"{ids.index(one.generation_id)}/{one.number} {one.verdict}" for one in ledger.marks.of(ids)]

    page = text_of(console.get(path))
    assert "left" in page
    assert f'src="/originals/{ids[0]}/0"' in page
    answer = sent(console, path, verdict="picked", at=f"{ids[0]}/0", following=f"{ids[1]}/0")
    assert answer.headers["Location"] == f"{path}?at={ids[1]}%2F0"
    clock.advance(1)
    sent(console, path, verdict="rejected", at=f"{ids[1]}/0")
    assert marks() == ["0/0 picked", "1/0 rejected"]
    page = text_of(console.get(f"{path}?mark=picked&at={ids[0]}/0"))
    assert "Picked 1" in page
    assert f"/gallery?batch={batch_id}&amp;mark=picked" in page or f"/gallery?batch={batch_id}&mark=picked" in page
    answer = sent(console, path, verdict="undo", at=f"{ids[0]}/0")
    assert answer.headers["Location"] == f"{path}?at={ids[1]}%2F0"
    sent(console, path, verdict="clear", at=f"{ids[0]}/0")
    assert marks() == []
    sent(console, path, verdict="undo", at=f"{ids[0]}/0")
    assert "You have no decision to undo" in text_of(console.get(path))


def test_an_undo_that_is_sent_again_takes_back_the_same_mark_and_no_second(
    console: Console, ledger: Ledger, clock: FakeClock
):
    ids = sorted(archived(ledger, 2, batch="spring"))
    (batch_id,) = {one.batch_id for one in ledger.generations.get(ids)}
    path = f"/review/batch/{batch_id}"
    for one in ids:
        clock.advance(1)
        sent(console, path, verdict="picked", at=f"{one}/0")
    form = {"once": once_of(console.get(path)), "verdict": "undo", "at": f"{ids[0]}/0"}
    with broken_off():
        console.post(path, form)
    for _ in range(2):
        assert console.post(path, form).headers["Location"] == f"{path}?at={ids[1]}%2F0"
        assert [one.generation_id for one in ledger.marks.of(ids)] == [ids[0]]


def test_an_empty_review_says_what_to_do(console: Console):
    assert "Images appear here when a recipe says" in text_of(console.get("/review"))
    assert "Nobody has decided anything yet" in text_of(console.get("/review/decisions"))


def test_the_gallery_has_what_was_marked_and_nothing_else_is_done_to(console: Console, here: Services, ledger: Ledger):
    first, second, third = sorted(archived(ledger, 3, links=2, batch="spring"))
    for generation_id, number, verdict in (
        (first, 0, Mark.PICKED),
        (first, 1, Mark.REJECTED),
        (second, 0, Mark.REJECTED),
        (second, 1, Mark.REJECTED),
        (third, 0, Mark.REJECTED),
    ):
        ledger.marks.set(generation_id, number, verdict, "ada")

    def shown(mark: str) -> list[str]:
        return re.findall(r'data-pick="([^"]*)"', console.get(f"/gallery?mark={mark}").text)

    assert shown("picked") == [f"{first}.0"]
    # Whose images are rejected only in part, or not all marked, may be deleted by nobody who means the rejected.
    assert shown("rejected") == [f"{second}.0", f"{second}.1"]
    assert console.get("/gallery?mark=perhaps").status_code == 422
    chosen = settled(here, Chosen(request=GalleryRequest(mark=Mark.PICKED)))
    assert chosen.picks == (Pick(first, 0),)
    assert ids_of(here, settled(here, Chosen(request=GalleryRequest(mark=Mark.REJECTED)))) == [second]
