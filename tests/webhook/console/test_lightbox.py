"""The page of one generation, and what its buttons do."""

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from tasks.usecases.users import Role, UserRequest, add_user
from tests.clock import FakeClock
from tests.tasks.cli.stories import archived, expired, failed, queued, submitted, succeeded, timed_out, told
from tests.webhook.console.asking import get, post, words
from tests.webhook.console.conftest import PASSWORD, Browser, at_work_with
from webhook.api.app import create_app
from worker.generation import State
from worker.ledger import Ledger
from worker.services import Services

GRID = ("upscale1", "upscale2", "upscale3", "upscale4", "variation1", "a_new_one")
PRICES = """
currency: EUR
prices:
  - {provider: acedata, price: 0.05}
  - {provider: acedata, operation: upscale, price: 0.02}
"""
HOSTILE = "<img src=x onerror=alert(1)> \"'><script>alert(2)</script>"


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    """No database matters here."""
    return sqlite_url


@pytest.fixture
def priced(services_for: Callable[..., Services], rung: list[str], tmp_path: Path) -> FlaskClient:
    assert rung == []
    (tmp_path / "prices.yaml").write_text(PRICES)
    return at_work_with(create_app(services_for(darkroom_prices=tmp_path / "prices.yaml")))


def grid(ledger: Ledger, **facts: Any) -> str:
    return archived(ledger, actions=GRID, **facts)


def buttons(text: str) -> dict[str, str]:
    """The actions that one click asks for, and what their buttons say."""
    found = re.findall(r'<button name="action" value="([^"]+)"[^>]*>(.*?)</button>', text, flags=re.DOTALL)
    return {action: " ".join(re.sub(r"<[^>]+>", "", said).split()) for action, said in found}


def children(ledger: Ledger, parent: str) -> list[str | None]:
    return [one.action for one in ledger.generations.family(parent)[::-1][1:]]


# --- what is shown


def test_everything_that_is_known_of_a_generation_is_on_its_page(client: FlaskClient, ledger: Ledger) -> None:
    shown = get(client, f"/generations/{grid(ledger, key='sku-1', batch='spring')}")
    said = words(shown)
    assert shown.status_code == 200
    size = "1024 \N{MULTIPLICATION SIGN} 768, 1.2 MB"
    for fact in ("sku-1", "a fox", "Imagine at Ace Data Cloud", "archived", "spring", size, "ab" * 32,
                 "/0.png", "Created", "Submitted", "Archived", "callback"):  # fmt: skip
        assert fact in said, fact


def test_a_picture_has_its_size_before_it_is_there_and_no_link_that_works_elsewhere(
    client: FlaskClient, ledger: Ledger
) -> None:
    generation = grid(ledger)
    shown = get(client, f"/generations/{generation}").text
    assert re.search(rf'<img id="picture" src="/originals/{generation}/0" width="1024" height="768"', shown)
    assert "X-Amz" not in shown
    assert "hm=" not in shown


def test_what_people_and_providers_wrote_is_only_text(client: FlaskClient, ledger: Ledger) -> None:
    (one,) = queued(ledger, HOSTILE, key=HOSTILE)
    shown = get(client, f"/generations/{one.id}").text
    assert "<img src=x" not in shown
    assert "<script>alert" not in shown
    assert HOSTILE.split(maxsplit=1)[0] not in shown


def test_a_text_is_shown_as_text(client: FlaskClient, ledger: Ledger) -> None:
    generation = told(ledger, descriptions=["a <b>fox</b> in snow", "an owl"])
    assert "a <b>fox</b> in snow an owl" in words(get(client, f"/generations/{generation}"))
    assert "<b>fox" not in get(client, f"/generations/{generation}").text


def test_a_failure_says_why_and_what_to_do_and_hides_links_that_still_work(client: FlaskClient, ledger: Ledger) -> None:
    shown = get(client, f"/generations/{failed(ledger)}")
    assert "What to do: change the prompt or the images" in words(shown)
    assert "0123456789abcdef" not in shown.text


def test_a_generation_is_found_by_its_key_and_has_one_address(client: FlaskClient, ledger: Ledger) -> None:
    generation = grid(ledger, key="sku-1")
    assert get(client, "/generations/sku-1").headers["Location"] == f"/generations/{generation}"


@pytest.mark.parametrize(("path", "status"), [("nobody", 404), ("{}?index=7", 404), ("{}?index=-1", 422)])
def test_what_is_not_there_is_not_found(client: FlaskClient, ledger: Ledger, path: str, status: int) -> None:
    shown = get(client, f"/generations/{path.format(grid(ledger))}")
    assert shown.status_code == status
    assert shown.mimetype == "text/html"


def test_the_family_is_a_tree_in_which_the_one_that_is_shown_is_marked(client: FlaskClient, ledger: Ledger) -> None:
    parent = grid(ledger)
    post(client, f"/generations/{parent}/actions", action="upscale2")
    post(client, f"/generations/{parent}/actions", action="variation1")
    (variation, upscale, _) = ledger.generations.family(parent)
    shown = get(client, f"/generations/{upscale.id}").text
    tree = shown[shown.index('<ul class="tree">') :]
    assert [tree.index(f"/generations/{one}") for one in (parent, upscale.id, variation.id)] == sorted(
        tree.index(f"/generations/{one}") for one in (parent, upscale.id, variation.id)
    )
    (current,) = re.findall(r'href="/generations/(\w+)[^"]*" aria-current="true"', tree)
    assert current == upscale.id


def test_filters_of_the_gallery_stay_in_all_addresses_and_say_what_is_beside(
    client: FlaskClient, ledger: Ledger, clock: FakeClock
) -> None:
    ids = []
    for task_id in ("1", "2"):
        ids.append(grid(ledger, task_id=task_id))
        clock.advance(1)
    queued(ledger)
    older, newer = ids
    shown = get(client, f"/generations/{newer}?index=0&q=fox&state=archived").text
    assert 'href="/gallery?q=fox&amp;state=archived"' in shown
    assert 'rel="prev"' not in shown
    (after,) = re.findall(r'rel="next" href="([^"]+)"', shown)
    assert unescape(after) == f"/generations/{older}?q=fox&state=archived&index=0"
    assert f'rel="prev" href="/generations/{newer}?' in get(client, unescape(after)).text


def test_one_that_moves_on_has_its_page_loaded_again(client: FlaskClient, ledger: Ledger) -> None:
    generation = submitted(ledger)
    assert 'hx-trigger="every 3s"' in get(client, f"/generations/{generation}").text
    same = get(client, f"/generations/{generation}/now?was=submitted")
    assert (same.status_code, "HX-Refresh" in same.headers) == (200, False)
    assert get(client, f"/generations/{generation}/now?was=queued").headers["HX-Refresh"] == "true"


# --- what can be made of it


def test_each_action_that_is_offered_is_a_button_with_its_price(priced: FlaskClient, ledger: Ledger) -> None:
    shown = get(priced, f"/generations/{grid(ledger)}")
    assert buttons(shown.text) == {
        **{f"upscale{number}": f"Upscale {number}, 0.02 EUR" for number in range(1, 5)},
        "variation1": "Variation 1, 0.05 EUR",
        "describe": "Describe, 0.05 EUR",
        "split": "Split into four, free",
    }
    said = words(shown)
    # Of what needs a prompt, a mask or an image of its own, the form asks.
    assert "Make a video…, 0.05 EUR" in said.replace(" ,", ",")
    assert re.search(
        r'disabled title="Ace Data Cloud offers it, and Darkroom does not support it">A new one<', shown.text
    )
    assert "Not offered for this one:" in said


def test_a_price_that_is_not_known_says_so(client: FlaskClient, ledger: Ledger) -> None:
    assert buttons(get(client, f"/generations/{grid(ledger)}").text)["upscale1"] == "Upscale 1, price unknown"


def test_what_is_not_archived_offers_nothing_and_says_why(client: FlaskClient, ledger: Ledger) -> None:
    shown = get(client, f"/generations/{succeeded(ledger, actions=GRID)}")
    assert buttons(shown.text) == {}
    assert "It is succeeded: a follow-up starts from an archived image" in words(shown)
    assert '<button disabled aria-describedby="why-not">' in shown.text


def test_a_follow_up_is_created_and_shown(client: FlaskClient, ledger: Ledger, rung: list[str]) -> None:
    parent = grid(ledger)
    made = post(client, f"/generations/{parent}/actions", action="upscale2")
    (child, _) = ledger.generations.family(parent)
    assert (made.status_code, made.headers["Location"]) == (303, f"/generations/{child.id}")
    assert (child.action, child.parent_id, child.state) == ("upscale2", parent, State.QUEUED)
    assert "dispatch" in rung
    history = ledger.generations.transitions_of([child.id])[child.id]
    assert history[0].cause == "created by local (console)"


def test_a_second_click_creates_nothing_and_another_action_does(client: FlaskClient, ledger: Ledger) -> None:
    parent = grid(ledger)
    for action in ("upscale2", "upscale2", "variation1", "upscale2"):
        made = post(client, f"/generations/{parent}/actions", action=action)
        assert made.status_code == 303
    assert made.headers["Location"].endswith("?sent=before")
    assert "This form was sent before" in words(get(client, made.headers["Location"]))
    assert children(ledger, parent) == ["upscale2", "variation1"]


def test_clicks_at_once_create_one(services_for: Callable[..., Services], rung: list[str], ledger: Ledger) -> None:
    assert rung == []
    app, parent = create_app(services_for()), grid(ledger)
    with ThreadPoolExecutor(4) as pool:
        asked = [
            pool.submit(post, at_work_with(app), f"/generations/{parent}/actions", action="upscale2") for _ in range(8)
        ]
        assert {one.result().status_code for one in asked} == {303}
    assert children(ledger, parent) == ["upscale2"]


def test_a_form_without_a_key_is_refused(client: FlaskClient, ledger: Ledger) -> None:
    parent = grid(ledger)
    for once in (None, "", "short", "a key with spaces in it 12345"):
        assert post(client, f"/generations/{parent}/actions", action="upscale2", once=once).status_code == 400
    assert children(ledger, parent) == []


def test_an_action_that_is_not_offered_is_refused_in_a_sentence(client: FlaskClient, ledger: Ledger) -> None:
    answer = post(client, f"/generations/{grid(ledger)}/actions", action="pan_left")
    assert answer.status_code == 422
    assert "does not offer 'pan_left'" in words(answer)


# --- what its state allows


def test_what_is_queued_can_be_cancelled_and_once_more_without_harm(client: FlaskClient, ledger: Ledger) -> None:
    (one,) = queued(ledger)
    assert "Cancel it" in words(get(client, f"/generations/{one.id}"))
    for _ in range(2):
        assert post(client, f"/generations/{one.id}/cancel").status_code == 303
    assert ledger.generations.get([one.id])[0].state is State.CANCELLED


def test_what_was_sent_cannot_be_cancelled(client: FlaskClient, ledger: Ledger) -> None:
    generation = submitted(ledger)
    assert "Cancel it" not in words(get(client, f"/generations/{generation}"))
    answer = post(client, f"/generations/{generation}/cancel")
    assert answer.status_code == 409
    assert "already paid for" in words(answer)


@pytest.mark.parametrize(("story", "after"), [(failed, State.QUEUED), (expired, State.SUCCEEDED)])
def test_what_came_to_nothing_can_be_tried_again_once(
    client: FlaskClient, ledger: Ledger, rung: list[str], story: Callable[[Ledger], str], after: State
) -> None:
    generation = story(ledger)
    before = len(ledger.generations.transitions_of([generation])[generation])
    for _ in range(2):
        assert post(client, f"/generations/{generation}/retry").status_code == 303
    moves = ledger.generations.transitions_of([generation])[generation][before:]
    assert [one.to_state for one in moves] == [after]
    assert {"dispatch", "archive"} <= set(rung)


def test_what_may_still_come_is_only_paid_for_again_if_somebody_says_so(client: FlaskClient, ledger: Ledger) -> None:
    generation = timed_out(ledger)
    assert "it may be paid for twice" in words(get(client, f"/generations/{generation}"))
    refused = post(client, f"/generations/{generation}/retry")
    assert refused.status_code == 409
    assert "the provider may still deliver it" in words(refused).lower()
    assert post(client, f"/generations/{generation}/retry", may_pay_twice="on").status_code == 303
    assert ledger.generations.get([generation])[0].state is State.QUEUED


def test_viewers_see_all_of_it_and_have_no_buttons(
    browser_for: Callable[..., Browser], here: Services, ledger: Ledger
) -> None:
    add_user(here, UserRequest(name="eve", role=Role.VIEWER, password=PASSWORD, by="somebody"))
    browser, parent = browser_for(), grid(ledger)
    browser.log_in("eve", PASSWORD)
    shown = browser.get(f"/generations/{parent}")
    assert "Upscale 1 price unknown" in words(shown)
    assert "<form" not in shown.text[shown.text.index('<div class="lightbox"') :]
    assert "Viewers cannot submit" in words(browser.get("/submit"))
    refused = browser.post(f"/generations/{parent}/actions", {"action": "upscale1", "csrf": browser.body_token()})
    assert refused.status_code == 403
    assert children(ledger, parent) == []


def test_every_write_is_in_the_log_of_actions(client: FlaskClient, ledger: Ledger) -> None:
    parent = grid(ledger)
    post(client, f"/generations/{parent}/actions", action="upscale2")
    post(client, f"/generations/{parent}/cancel")
    cancelled, followed = ledger.access.actions()
    assert (followed.door, followed.actor, followed.status) == ("console", "local", 303)
    assert (followed.action, followed.subject) == ("POST /generations/<generation>/actions", parent)
    assert cancelled.status == 409


def test_what_expired_is_not_told_to_be_tried_again(client: FlaskClient, ledger: Ledger) -> None:
    said = words(get(client, f"/generations/{expired(ledger)}"))
    assert "Its link expired before it was stored." in said
    assert "It is tried again" not in said


def test_next_steps_stand_only_where_there_are_some(client: FlaskClient, ledger: Ledger) -> None:
    assert "Next steps" not in words(get(client, f"/generations/{told(ledger, prompt='a fox')}"))
    assert "Next steps" in words(get(client, f"/generations/{grid(ledger, task_id='task-2')}"))


def test_an_account_has_the_name_of_its_provider_as_the_form_has_it(client: FlaskClient, ledger: Ledger) -> None:
    assert "Account Ace Data Cloud task task-1" in words(get(client, f"/generations/{grid(ledger)}"))
    assert '<option value="acedata">Ace Data Cloud</option>' in get(client, "/gallery").text
    assert "Ace Data Cloud" in words(get(client, "/operate/accounts"))
