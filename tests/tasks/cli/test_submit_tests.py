"""`--test`: what is submitted goes to the sandbox, and every list says so."""

import json
from contextlib import closing
from pathlib import Path

import pytest

from tasks.usecases.doctor.finding import Verdict
from tasks.usecases.doctor.sandbox import examine_sandbox
from tests.tasks.cli import stories
from tests.tasks.cli.conftest import Darkroom
from webhook import sandbox
from worker.embedded import free_port
from worker.ledger import Ledger
from worker.services import Services
from worker.settings import load_settings

URL = "http://127.0.0.1:9000"


@pytest.fixture
def with_sandbox(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DARKROOM_SANDBOX_URL", URL)


def documents(darkroom: Darkroom, *arguments: str) -> list[dict[str, object]]:
    done = darkroom(*arguments, "--json")
    assert done.exit_code == 0, done.output
    return [json.loads(line) for line in done.stdout.splitlines()]


def findings(monkeypatch: pytest.MonkeyPatch, url: str | None) -> list[tuple[Verdict, str]]:
    if url is not None:
        monkeypatch.setenv("DARKROOM_SANDBOX_URL", url)
    with closing(Services(load_settings())) as here:
        return [(one.verdict, one.message) for one in examine_sandbox(here)]


@pytest.mark.parametrize("arguments", [("submit", "--test", "a fox"), ("batch", "submit", "--test", "foxes.txt")])
def test_without_a_sandbox_a_test_is_refused_and_nothing_is_written(
    darkroom: Darkroom, ledger: Ledger, arguments: tuple[str, ...]
) -> None:
    Path("foxes.txt").write_text("a fox\n")
    result = darkroom(*arguments)
    assert result.exit_code == 1
    assert "tests need the sandbox, but DARKROOM_SANDBOX_URL is not set: start `darkroom up`, which" in result.stderr
    assert ledger.generations.page() == []


def test_a_test_says_everywhere_that_it_is_one(darkroom: Darkroom, with_sandbox: None) -> None:
    (test,) = documents(darkroom, "submit", "--test", "a fox", "--key", "sku-1")
    (paid,) = documents(darkroom, "submit", "a fox", "--key", "sku-1")
    assert (test["test"], paid["test"]) == (True, False)
    assert test["id"] != paid["id"]
    assert [one["test"] for one in documents(darkroom, "list")] == [False, True]
    lines = darkroom("list").stdout.splitlines()
    assert ["[test] sku-1" in line for line in lines] == [False, True]
    shown = darkroom("show", str(test["id"])).stdout
    assert "made by the sandbox, costs nothing" in shown
    assert "sandbox" not in darkroom("show", str(paid["id"])).stdout
    # By its key, what is paid for is found.
    assert f"{paid['id']}" in darkroom("show", "sku-1").stdout
    # The same command again creates nothing.
    assert documents(darkroom, "submit", "--test", "a fox", "--key", "sku-1")[0]["id"] == test["id"]
    refused = darkroom("submit", "--test", "a hen", "--key", "sku-1")
    assert "the key 'sku-1' already belongs to" in refused.stderr


def test_a_file_can_be_tested_and_then_submitted(darkroom: Darkroom, with_sandbox: None) -> None:
    Path("shop.csv").write_text("key,prompt\n1,a fox\n2,a hen\n")
    command = ("batch", "submit", "shop.csv")
    (test,) = documents(darkroom, *command, "--test")
    (paid,) = documents(darkroom, *command)
    assert [(one["name"], one["test"], one["created"]) for one in (test, paid)] == [
        ("shop (test)", True, 2),
        ("shop", False, 2),
    ]
    (again,) = documents(darkroom, *command, "--test")
    assert (again["created"], again["existing"], again["batch"]) == (0, 2, test["batch"])
    assert [(one["name"], one["test"]) for one in documents(darkroom, "batch", "list")] == [
        ("shop", False),
        ("shop (test)", True),
    ]
    (by_submit,) = {one["batch"] for one in documents(darkroom, "submit", "--file", "shop.csv", "--test")}
    assert by_submit == "shop (test)"


def test_prompts_that_are_tested_together_are_a_batch_of_tests(darkroom: Darkroom, with_sandbox: None) -> None:
    named = documents(darkroom, "submit", "--test", "a fox", "a hen", "--batch", "farm")
    unnamed = documents(darkroom, "submit", "--test", "a fox", "a hen")
    assert {one["batch"] for one in named} == {"farm (test)"}
    (name,) = {str(one["batch"]) for one in unnamed}
    assert name.endswith(" (test)")


@pytest.mark.parametrize(
    "arguments",
    [("batch", "submit", "foxes.txt", "--name", "shop (test)"), ("submit", "a", "b", "--batch", "shop (test)")],
)
def test_no_other_batch_is_called_like_one_of_tests(darkroom: Darkroom, arguments: tuple[str, ...]) -> None:
    Path("foxes.txt").write_text("a fox\n")
    result = darkroom(*arguments)
    assert result.exit_code == 1
    assert "the name 'shop (test)' is reserved for test batches: give the batch another one" in result.stderr


def test_a_test_cannot_continue_what_was_paid_for(darkroom: Darkroom, ledger: Ledger, with_sandbox: None) -> None:
    parent = stories.archived(ledger)
    result = darkroom("submit", "--test", "--parent", parent, "--action", "upscale1")
    assert result.exit_code == 1
    assert f"{parent} is not a test: a test can only continue from another test" in result.stderr


def test_a_batch_of_tests_needs_no_prices_and_is_in_no_estimate(
    darkroom: Darkroom, with_sandbox: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("prices.yaml").write_text("currency: USD\nprices:\n  - {provider: acedata, price: 0.05}\n")
    monkeypatch.setenv("DARKROOM_PRICES", "prices.yaml")
    # An option without a factor, which a submission that costs something is warned of.
    options = ("--option", "version=8", "--option", "hd=true")
    assert "has no factor" not in darkroom("submit", "--test", "a fox", *options).stderr
    assert "has no factor" in darkroom("submit", "a fox", *options).stderr


def test_the_pause_of_the_sandbox_ends_like_any_other(darkroom: Darkroom) -> None:
    assert darkroom("resume", "kie", "--account", "_sandbox").exit_code == 0
    assert darkroom("resume", "kie", "--account", "sandbox").exit_code == 1


def test_doctor_says_nothing_of_a_sandbox_that_nobody_needs(
    darkroom: Darkroom, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert findings(monkeypatch, None) == []
    assert findings(monkeypatch, f"http://127.0.0.1:{free_port()}") == []


def test_doctor_says_what_tests_wait_for(
    darkroom: Darkroom, ledger: Ledger, monkeypatch: pytest.MonkeyPatch, with_sandbox: None
) -> None:
    documents(darkroom, "submit", "--test", "a fox")
    silent = f"http://127.0.0.1:{free_port()}"
    ((verdict, message),) = findings(monkeypatch, silent)
    assert verdict is Verdict.WARN
    assert message.startswith(f"{silent} does not answer: start it with `darkroom sandbox --port ")
    with sandbox.running(delay=0) as running:
        assert findings(monkeypatch, running.url) == [(Verdict.OK, f"{running.url} answers")]
    monkeypatch.delenv("DARKROOM_SANDBOX_URL")
    ((verdict, message),) = findings(monkeypatch, None)
    assert verdict is Verdict.WARN
    assert "DARKROOM_SANDBOX_URL is not set" in message


def test_a_batch_of_tests_cannot_be_moved_to_a_provider(
    darkroom: Darkroom, with_sandbox: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KIE_API_KEY", "a-key-of-the-tests")
    documents(darkroom, "submit", "--test", "a fox", "a hen", "--batch", "farm")
    (moved,) = documents(darkroom, "batch", "move", "farm (test)", "--to", "kie")
    assert moved["left"] == {"tests, which only the sandbox makes": 2}
    assert [one["provider"] for one in documents(darkroom, "list")] == ["acedata"] * 2
