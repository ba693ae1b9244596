"""`darkroom subscriber`: a secret is shown once, addresses are shortened, and what settings declare is listed."""

import json

import pytest

from tests.tasks.cli.conftest import Darkroom
from tests.tasks.subscribing import subscriber
from tests.worker.subscribers.test_standard_webhooks import SECRET
from worker.ledger import Ledger

URL = "https://shop.example.com/hooks/token-of-the-shop"


def documents(darkroom: Darkroom, *arguments: str) -> list[dict]:
    result = darkroom("subscriber", *arguments, "--json")
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_a_secret_is_shown_once_and_alone_on_standard_output(darkroom: Darkroom) -> None:
    made = darkroom("subscriber", "add", URL, "--name", "shop")
    secret = made.stdout.strip()
    assert secret.startswith("whsec_")
    assert "shown only once" in made.stderr
    for command in (("list",), ("show", "shop"), ("list", "--json"), ("show", "shop", "--json")):
        said = darkroom("subscriber", *command)
        assert "shop.example.com/" in said.output
        assert secret not in said.output
        assert "token-of-the-shop" not in said.output


def test_a_program_reads_the_same(darkroom: Darkroom) -> None:
    (made,) = documents(
        darkroom, "add", URL, "--types", "generation.*,batch.completed", "--batch", "spring", "--label", "client=acme"
    )
    assert made.pop("secret").startswith("whsec_")
    (listed,) = documents(darkroom, "list")
    assert listed == made
    assert listed["name"].startswith("shop.example.com-")
    facts = {name: listed[name] for name in ("kind", "address", "declared", "state", "types", "batch", "labels")}
    assert facts == {
        "kind": "webhook",
        "address": "https://shop.example.com/…",
        "declared": False,
        "state": "active",
        "types": ["generation.*", "batch.completed"],
        "batch": "spring",
        "labels": {"client": "acme"},
    }


def test_what_settings_declare_is_listed_and_read_only(
    darkroom: Darkroom, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DARKROOM_NOTIFY_URLS", URL)
    monkeypatch.setenv("DARKROOM_NOTIFY_SECRET", SECRET)
    monkeypatch.setenv("DARKROOM_NOTIFY_TASKS", "billing.on_event@its-queue")
    monkeypatch.setenv("DARKROOM_NOTIFY_EVENTS", "batch.*")
    task, webhook = documents(darkroom, "list")
    assert [(one["kind"], one["declared"], one["state"], one["types"]) for one in (task, webhook)] == [
        ("task", True, "new", ["batch.*"]),
        ("webhook", True, "new", ["batch.*"]),
    ]
    ledger.events.register_subscribers([task["name"], webhook["name"]])
    assert {one["state"] for one in documents(darkroom, "list")} == {"active"}
    again = darkroom("subscriber", "add", URL)
    assert (again.exit_code, "is already declared by a setting" in again.stderr) == (1, True)
    gone = darkroom("subscriber", "remove", task["name"])
    assert (gone.exit_code, "remove it there" in gone.stderr) == (1, True)
    rotated = darkroom("subscriber", "rotate", webhook["name"])
    assert (rotated.exit_code, "DARKROOM_NOTIFY_SECRET" in rotated.stderr) == (1, True)


def test_tasks_and_streams_have_no_secret(darkroom: Darkroom) -> None:
    (task,) = documents(darkroom, "add", "--task", "billing.on_event@its-queue")
    (stream,) = documents(darkroom, "add", "--stream", "redis://:hunter2hunter2@10.0.0.1/0#shop")
    assert (task["secret"], task["address"]) == (None, "billing.on_event@its-queue")
    assert (stream["secret"], stream["address"]) == (None, "redis://10.0.0.1#shop")
    assert darkroom("subscriber", "rotate", "stream:shop").exit_code == 1


def test_rotation_leaves_one_secret_before_the_new_one(darkroom: Darkroom, ledger: Ledger) -> None:
    made = [darkroom("subscriber", "add", URL, "--name", "shop").stdout.strip()]
    made += [darkroom("subscriber", "rotate", "shop").stdout.strip() for _ in range(2)]
    (row,) = ledger.events.known_subscribers()
    assert row.secrets == made[:0:-1]


def test_a_removed_one_is_gone_and_an_unknown_one_is_a_sentence(darkroom: Darkroom) -> None:
    darkroom("subscriber", "add", URL, "--name", "shop")
    assert "did you mean 'shop'?" in darkroom("subscriber", "remove", "shopp").stderr
    assert darkroom("subscriber", "remove", "shop").stdout == "shop: removed\n"
    assert documents(darkroom, "list") == []
    assert "There are no subscribers" in darkroom("subscriber", "list").stderr
    assert darkroom("subscriber", "enable", "shop").exit_code == 1


def test_enabling_wakes_whoever_delivers(darkroom: Darkroom) -> None:
    darkroom("subscriber", "add", URL, "--name", "shop")
    assert darkroom("subscriber", "enable", "shop").exit_code == 0
    assert "notify" in darkroom.bells


def test_a_test_shows_the_reply_and_fails_with_it(darkroom: Darkroom) -> None:
    with subscriber(lambda number: 200 if number == 0 else 500) as one:
        one.reply = b"thanks"
        darkroom("subscriber", "add", one.url, "--name", "shop")
        accepted = darkroom("subscriber", "test", "shop")
        refused = darkroom("subscriber", "test", "shop", "--type", "generation.failed")
    assert (accepted.exit_code, refused.exit_code) == (0, 1)
    assert "accepted  HTTP 200" in accepted.stdout
    assert "thanks" in accepted.stdout
    assert "HTTP 500" in refused.stdout
    assert [received.event["test"] for received in one.received] == [True, True]
    assert one.types == ["generation.archived", "generation.failed"]


@pytest.mark.parametrize(
    ("arguments", "exit_code", "said"),
    [
        ((), 2, "give one of URL, --task and --stream"),
        ((URL, "--task", "a.b"), 2, "give one of URL, --task and --stream"),
        (("--task", "a.b", "--format", "slack"), 2, "--format is for a URL"),
        (("ftp://shop",), 1, "the address is not of the form https://host/path"),
        (("http://8.8.8.8/hooks",), 1, "would send events unencrypted over the internet: use https"),
        ((f"{URL},{URL}2",), 1, "give one address"),
        (("--task", "a b"), 1, "invalid Celery task"),
        (("--stream", "a b"), 1, "the name of a stream consists of"),
        (("--stream", "amqp://:hunter2hunter2@host#shop"), 1, "write a stream on its own Redis as redis://"),
        ((URL, "--types", "generation.nonsense"), 1, "no event matches 'generation.nonsense'"),
        ((URL, "--provider", "nobody"), 1, "unknown provider 'nobody'"),
        ((URL, "--name", " "), 1, "a subscriber's name must have 1 to 100 printable characters"),
    ],
)
def test_a_mistake_is_one_sentence(darkroom: Darkroom, arguments: tuple[str, ...], exit_code: int, said: str) -> None:
    result = darkroom("subscriber", "add", *arguments)
    assert (result.exit_code, result.stdout) == (exit_code, "")
    assert said in result.stderr
    assert "hunter2" not in result.output
