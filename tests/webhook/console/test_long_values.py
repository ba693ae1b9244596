"""Whatever somebody writes into an address or a form, the page says what is wrong with it, and repeats little of it."""

import re

import pytest
from flask.testing import FlaskClient

from tests.tasks.cli.stories import archived
from tests.webhook.console.asking import get, post, words
from worker.ledger import Ledger

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

LONG = "7" * 10_000
#: characters in a row that a page may repeat
SOME = "7" * 100


@pytest.mark.parametrize(
    "path",
    [
        "/{}",
        "/generations/{}",
        "/generations/{}/now",
        "/batches/{}",
        "/batches/{}/retry",
        "/review/{}",
        "/operate/{}",
        "/operate/subscribers/{}",
        "/operate/accounts?credit=acedata/{}",
        "/operate/accounts?credit={}",
        "/operate/dead?most={}",
        "/operate/spend?by={}",
        "/operate/spend?by=day,day,{}",
        "/gallery?batch={}&similar=1",
        "/gallery?provider={}",
        "/gallery?operation={}",
        "/gallery?state={}",
        "/gallery?mark={}",
        "/gallery?label={}",
        "/gallery?since={}",
        "/gallery?after={}",
        "/thumbs/{}/0",
        "/originals/gen_1/{}",
        "/submit?follows={}",
        "/submit?from={}",
        "/submit?follows=GENERATION&action={}",
        "/generations/GENERATION?index={}",
    ],
)
def test_of_a_long_value_in_an_address_a_page_repeats_little(client: FlaskClient, ledger: Ledger, path: str) -> None:
    shown = get(client, path.format(LONG).replace("GENERATION", archived(ledger)))
    assert shown.status_code < 500
    assert SOME not in words(shown)


@pytest.mark.parametrize("action", [LONG, "video", "upscale1"])
def test_of_a_long_action_the_page_repeats_little(client: FlaskClient, ledger: Ledger, action: str) -> None:
    shown = post(client, f"/generations/{archived(ledger)}/actions", action=action, image=LONG)
    assert shown.status_code in {303, 422}
    assert SOME not in words(shown)


@pytest.mark.parametrize(
    "name", ["option.version", "option.chaos", "option.aspect_ratio", "provider", "operation", "labels", "max_cost"]
)
def test_of_a_long_field_of_a_form_the_page_repeats_little(client: FlaskClient, name: str) -> None:
    form = {"prompts": "a fox", "provider": "acedata", "operation": "imagine", name: LONG}
    shown = post(client, "/submit", more=form)
    assert shown.status_code == 422
    # What was entered stands in its field again.
    mistakes = re.findall(r'<div class="mistake"[^>]*>(.*?)</div>', shown.text, flags=re.DOTALL)
    assert any(one.strip() for one in mistakes)
    assert SOME not in " ".join(mistakes)


def test_a_version_of_ten_thousand_digits_is_refused(client: FlaskClient) -> None:
    form = {"prompts": "a fox", "provider": "acedata", "operation": "imagine", "option.version": LONG}
    shown = words(post(client, "/submit", more=form))
    assert "expected a version such as 8.1" in shown
