"""`--notify URL`: whose address it is, what is refused, and that nothing but its host is ever shown."""

import json
from pathlib import Path

import pytest

from tests.factories import archived
from tests.tasks.cli.conftest import Darkroom
from tests.worker.subscribers.test_standard_webhooks import SECRET
from worker.ledger import Ledger
from worker.subscribers import NotifyAddress

TOKEN = "token-of-the-shop"
URL = f"https://shop.example.com/hooks/{TOKEN}?order=17"
ADDRESS = NotifyAddress(URL)
NOT_PUBLIC = "the notify address is not public: name its host and its address or network in DARKROOM_NOTIFY_ALLOW"


@pytest.fixture(autouse=True)
def signed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DARKROOM_NOTIFY_SECRET", SECRET)


def address_of(ledger: Ledger, subject: str | None) -> NotifyAddress | None:
    return ledger.events.notify_address(str(subject))


def test_of_one_prompt_it_is_the_generations_and_of_several_their_batchs(darkroom: Darkroom, ledger: Ledger) -> None:
    assert darkroom("submit", "a fox", "--notify", URL).exit_code == 0
    (fox,) = ledger.generations.page()
    assert address_of(ledger, fox.id) == ADDRESS
    darkroom("submit", "an owl", "a crow", "--batch", "birds", "--notify", URL)
    owl, crow = ledger.generations.page(batch="birds")
    assert [address_of(ledger, one) for one in (owl.id, crow.id, owl.batch_id)] == [None, None, ADDRESS]


def test_of_a_follow_up_it_is_its_own(darkroom: Darkroom, ledger: Ledger) -> None:
    (parent,) = archived(ledger)
    assert darkroom("submit", "--parent", parent, "--action", "upscale1", "--notify", URL).exit_code == 0
    (follow_up,) = [one for one in ledger.generations.page() if one.parent_id == parent]
    assert [address_of(ledger, one) for one in (parent, follow_up.id)] == [None, ADDRESS]


@pytest.mark.parametrize("command", [("submit", "--file"), ("batch", "submit")])
def test_of_a_file_it_is_the_batchs_which_keeps_it(
    darkroom: Darkroom, ledger: Ledger, tmp_path: Path, command: tuple[str, ...]
) -> None:
    (tmp_path / "shop.txt").write_text("a fox\nan owl\n")
    assert darkroom(*command, "shop.txt", "--notify", URL).exit_code == 0
    batch = ledger.generations.newest_batch("shop")
    assert address_of(ledger, batch) == ADDRESS
    again = darkroom(*command, "shop.txt", "--notify", f"https://crm.example.com/{TOKEN}")
    assert "--notify (the batch has another, https://shop.example.com/…)" in again.stderr
    assert TOKEN not in again.output
    assert "--notify" not in darkroom(*command, "shop.txt", "--notify", URL).stderr
    assert address_of(ledger, batch) == ADDRESS
    (tmp_path / "plain.txt").write_text("a fox\n")
    darkroom(*command, "plain.txt")
    assert "--notify (the batch has none)" in darkroom(*command, "plain.txt", "--notify", URL).stderr


@pytest.mark.parametrize(
    ("url", "words"),
    [
        (f"http://shop.example.com/{TOKEN}", "the notify address must be https, unless DARKROOM_NOTIFY_ALLOW names"),
        (f"https://10.0.0.7/{TOKEN}", NOT_PUBLIC),
        (f"https://2130706433/{TOKEN}", "the notify address is not of the form https://host/path"),
        (f"shop.example.com/{TOKEN}", "the notify address is not of the form https://host/path"),
    ],
)
def test_what_is_not_allowed_is_refused_without_showing_it(
    darkroom: Darkroom, ledger: Ledger, tmp_path: Path, url: str, words: str
) -> None:
    (tmp_path / "shop.txt").write_text("a fox\n")
    like = darkroom("submit", "a fox", "--option", "speed=nonsense")
    for command in (
        ("submit", "a fox"),
        ("submit", "a fox", "an owl"),
        ("submit", "--file", "shop.txt"),
        ("batch", "submit", "shop.txt"),
        ("batch", "submit", "shop.txt", "--dry-run"),
    ):
        refused = darkroom(*command, "--notify", url)
        assert refused.exit_code == like.exit_code != 0
        assert words in refused.stderr
        assert TOKEN not in refused.output
    assert ledger.generations.page() == []


def test_without_a_secret_it_is_refused(darkroom: Darkroom, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DARKROOM_NOTIFY_SECRET")
    refused = darkroom("submit", "a fox", "--notify", URL)
    assert "a notify address needs DARKROOM_NOTIFY_SECRET" in refused.stderr
    assert refused.exit_code != 0
    assert ledger.generations.page() == []
    assert darkroom("submit", "a fox").exit_code == 0


def test_the_setting_opens_a_private_host(darkroom: Darkroom, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DARKROOM_NOTIFY_ALLOW", "hooks.internal,10.0.0.0/8")
    assert darkroom("submit", "a fox", "--notify", "http://hooks.internal:8080/in").exit_code == 0
    assert darkroom("submit", "a fox", "--notify", "https://10.1.2.3/in").exit_code == 0
    assert darkroom("submit", "a fox", "--notify", "https://192.168.1.1/in").exit_code != 0


def test_an_interrupted_command_is_another_one_with_another_address(darkroom: Darkroom, ledger: Ledger) -> None:
    darkroom("submit", "a fox", "--key", "sku-1", "--notify", URL)
    (fox,) = ledger.generations.page()
    darkroom("submit", "a fox", "--key", "sku-1", "--notify", "https://crm.example.com/")
    assert [one.id for one in ledger.generations.page()] == [fox.id]
    assert address_of(ledger, fox.id) == ADDRESS


def test_its_host_is_listed_as_made_by_submissions_and_can_be_removed(darkroom: Darkroom, ledger: Ledger) -> None:
    for number in (1, 2):
        darkroom("submit", "a fox", "--notify", f"https://shop.example.com/hooks/{TOKEN}?order={number}")
    name = ADDRESS.subscriber
    assert darkroom("subscriber", "list").stdout == (
        f"{name}  notify  https://shop.example.com/…  active  2 addresses of submissions\n"
    )
    (listed,) = [json.loads(line) for line in darkroom("subscriber", "list", "--json").stdout.splitlines()]
    facts = {key: listed[key] for key in ("name", "kind", "address", "declared", "addresses", "created_by")}
    assert facts == {
        "name": name,
        "kind": "notify",
        "address": "https://shop.example.com/…",
        "declared": False,
        "addresses": 2,
        "created_by": None,
    }
    for command in (("show", name), ("show", name, "--json"), ("enable", name)):
        said = darkroom("subscriber", *command)
        assert said.exit_code == 0
        assert TOKEN not in said.output
    assert "has none of its own" in darkroom("subscriber", "test", name).stderr
    assert "several in DARKROOM_NOTIFY_SECRET" in darkroom("subscriber", "rotate", name).stderr
    assert "belong to submissions' addresses" in darkroom("subscriber", "add", URL, "--name", "notify:x").stderr
    assert darkroom("subscriber", "remove", name).stdout == f"{name}: removed\n"
    assert darkroom("subscriber", "list").stdout == ""
    with ledger.database.read() as connection:
        for table in ("subscribers", "notify_addresses"):
            assert TOKEN not in str(connection.exec_driver_sql(f"SELECT * FROM {table}").all())


def test_no_page_and_no_document_has_it(darkroom: Darkroom, ledger: Ledger) -> None:
    darkroom("submit", "a fox", "an owl", "--batch", "animals", "--notify", URL, "--json")
    (fox, _) = ledger.generations.page()
    for command in (
        ("submit", "a crow", "--notify", URL, "--json"),
        ("show", fox.id, "--json"),
        ("show", fox.id),
        ("list", "--json"),
        ("batch", "show", "animals", "--json"),
        ("batch", "results", "animals", "--json"),
        ("events", "list", "--json"),
        ("subscriber", "list", "--json"),
        ("dead", "--json"),
        ("doctor",),
    ):
        assert TOKEN not in darkroom(*command).output


def test_doctor_says_that_events_wait_for_a_secret(darkroom: Darkroom, monkeypatch: pytest.MonkeyPatch) -> None:
    darkroom("submit", "a fox", "--notify", URL)
    monkeypatch.delenv("DARKROOM_NOTIFY_SECRET")
    said = " ".join(darkroom("doctor").output.split())
    assert f"events for {ADDRESS.subscriber} wait: DARKROOM_NOTIFY_SECRET" in said


def test_an_example_for_everybody_goes_to_no_address_of_a_submission(darkroom: Darkroom) -> None:
    darkroom("submit", "a fox", "--notify", URL)
    everybody = darkroom("events", "trigger", "generation.failed")
    assert (everybody.exit_code, everybody.stdout) == (1, "")
    assert "there is no subscriber: `darkroom subscriber add` one, or set DARKROOM_NOTIFY_URLS" in everybody.stderr
    one = darkroom("events", "trigger", "generation.failed", "--subscriber", ADDRESS.subscriber)
    assert "has none of its own" in one.stderr
