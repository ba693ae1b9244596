"""`darkroom approvals`, `approve` and `reject`: what waits, the secret links, and the decision."""

import json
from pathlib import Path

import pytest

from tests.asking import a_recipe, asked
from tests.tasks.cli.conftest import Darkroom
from worker.ledger import Ledger
from worker.ledger.approvals import Approval

KEYS = "k1:" + "k" * 32


@pytest.fixture
def approval(ledger: Ledger, tmp_path: Path) -> Approval:
    return asked(ledger, a_recipe(tmp_path), key="sku-7")[0]


def test_what_waits_is_listed_without_its_link(darkroom: Darkroom, approval: Approval, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DARKROOM_SIGNING_KEYS", KEYS)
    monkeypatch.setenv("CONSOLE_URL", "https://darkroom.example")
    listed = darkroom("approvals")
    assert f"{approval.id}  sku-7  step best, images 1, 2, 3, 4, 3 days left" in listed.stdout
    assert "https://" not in listed.stdout
    assert "link" not in json.loads(darkroom("approvals", "--json").stdout)


def test_links_are_shown_to_whoever_asks_for_them(
    darkroom: Darkroom, approval: Approval, monkeypatch: pytest.MonkeyPatch
):
    refused = darkroom("approvals", "--links")
    assert (refused.exit_code, "DARKROOM_SIGNING_KEYS is not set" in refused.stderr) == (1, True)
    monkeypatch.setenv("DARKROOM_SIGNING_KEYS", KEYS)
    assert f"http://127.0.0.1:8001/approvals/{approval.id}." in darkroom("approvals", "--links").stdout
    monkeypatch.setenv("CONSOLE_URL", "https://darkroom.example/studio/")
    document = json.loads(darkroom("approvals", "--links", "--json").stdout)
    assert document["link"].startswith(f"https://darkroom.example/studio/approvals/{approval.id}.")


def test_an_address_for_people_needs_keys_and_must_be_one(
    darkroom: Darkroom, approval: Approval, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("CONSOLE_URL", "https://darkroom.example")
    assert (
        "CONSOLE_URL is set, so links to approvals are sent, but DARKROOM_SIGNING_KEYS" in darkroom("approvals").stderr
    )
    monkeypatch.setenv("CONSOLE_URL", "darkroom.example")
    assert "CONSOLE_URL" in darkroom("approvals").stderr


def test_a_decision_is_made_once_and_by_any_name_of_it(darkroom: Darkroom, approval: Approval, ledger: Ledger):
    assert "give the numbers" in darkroom("approve", "sku-7", ",").stderr
    assert "there is no image 9" in darkroom("approve", "sku-7", "9").stderr
    made = darkroom("approve", "sku-7", "2,4", "--why", "sharp")
    assert "images 2, 4; 2 generations created" in made.stdout
    assert darkroom.bells == ["dispatch", "archive"]
    again = darkroom("approve", approval.id, "4,2")
    assert (again.exit_code, "already decided" in again.stdout) == (0, True)
    other = darkroom("reject", "sku-7")
    assert (other.exit_code, "was decided at" in other.stderr) == (1, True)
    assert ledger.approvals.get(approval.id).why == "sharp"
    assert "No decisions are waiting." in darkroom("approvals").stderr


def test_a_decision_that_creates_nothing_says_where_the_reason_is(darkroom: Darkroom, ledger: Ledger, tmp_path: Path):
    (approval,) = asked(ledger, a_recipe(tmp_path, more=", max_cost: 5"), key="sku-8")
    made = darkroom("approve", "sku-8", "2")
    assert "0 generations created" in made.stdout
    assert f"Nothing was created: `darkroom show {approval.generation_id}` says why." in made.stderr
    assert "max_cost needs prices" in " ".join(darkroom("show", "sku-8").stdout.split())


def test_a_generation_shows_what_waits_and_how_it_was_decided(darkroom: Darkroom, approval: Approval):
    waiting = darkroom("show", "sku-7").stdout
    assert "a recipe step is waiting for a decision by a person: `darkroom approve ID 2,4`" in " ".join(waiting.split())
    assert f"best  {approval.id} waits until" in waiting
    assert "waits for a decision" in darkroom("list").stdout
    darkroom("reject", "sku-7", "--why", "all are blurred")
    shown = darkroom("show", "sku-7").stdout
    assert (f"best  {approval.id} rejected at" in shown, "all are blurred" in shown) == (True, True)
    (document,) = json.loads(darkroom("show", "sku-7", "--json").stdout)["approvals"]
    assert (document["state"], document["why"]) == ("rejected", "all are blurred")
