"""`darkroom events`: what happened, as it happens, again, and as an example."""

import json
import re
import stat
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tasks.usecases.events import forward, log
from tasks.usecases.events.published import EVENTS
from tests.factories import archived, failure, submitted
from tests.tasks.cli.conftest import Darkroom
from tests.tasks.subscribing import Subscriber, subscriber
from tests.worker.subscribers.test_standard_webhooks import SECRET, verify
from worker.errors import LedgerUnavailable
from worker.ledger import Ledger
from worker.ledger.events import DeliveryFilter, Handed

FLOW = ["generation.submitted", "generation.succeeded", "asset.archived", "generation.archived"]
LEASE = timedelta(minutes=1)


def documents(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture
def stop_when_nothing_is_new(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C, as soon as `listen` has shown all that there is."""

    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(log.time, "sleep", interrupt)


@pytest.fixture
def receiver() -> Iterator[Subscriber]:
    with subscriber() as listening:
        yield listening


def told(ledger: Ledger, name: str) -> list[str]:
    """Deliver all that is due, as `notify` does."""
    claims = ledger.events.claim([name], 1, LEASE)
    found: list[str] = []
    for claim in claims:
        ledger.events.enqueue_new(claim, DeliveryFilter())
        delivery = ledger.events.record_and_claim_next(claim, LEASE)
        while delivery is not None:
            found.append(delivery.public_id)
            delivery = ledger.events.record_and_claim_next(claim, LEASE, Handed(delivery))
        ledger.events.release(claim)
    return found


# --- list ---


def test_events_are_listed_newest_first_as_people_read_them(darkroom: Darkroom, ledger: Ledger):
    (claim,) = submitted(ledger, key="fox-1")
    ledger.generations.apply_outcomes([failure(claim)])
    newest, oldest = darkroom("events", "list").stdout.splitlines()
    assert re.search(r"generation\.failed  \S+  fox-1  forbidden: the prompt is forbidden  evt_\d+_\w+$", newest)
    assert re.search(r"generation\.submitted  \S+  fox-1  evt_\d+_\w+$", oldest)


def test_programs_get_what_subscribers_get(darkroom: Darkroom, ledger: Ledger, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("S3_BUCKET", "acme-images")
    archived(ledger, batch="spring")
    found = documents(darkroom("events", "list", "--json").stdout)[::-1]
    assert [one["type"] for one in found] == [*FLOW, "batch.completed"]
    assert found[2]["data"].items() >= {"bucket": "acme-images", "object_key": "pictures/0.png", "index": 0}.items()
    assert found[3]["data"]["assets"] == [
        {"index": 0, "kind": "image", "object_key": "pictures/0.png", "content_type": "image/png", "bytes": 1234}
    ]
    batch = found[4]["data"]
    assert batch["manifest"] == f"manifests/spring/{batch['batch_id']}/manifest.jsonl"
    assert batch.items() >= {"batch": "spring", "counts": {"archived": 1}, "bucket": "acme-images"}.items()


@pytest.mark.parametrize(
    ("arguments", "types"),
    [
        (["--type", "generation.arch*,batch.*"], {"generation.archived", "batch.completed"}),
        (["--type", "asset.archived", "--types", "batch.completed"], {"asset.archived", "batch.completed"}),
        (["--batch", "spring"], {*FLOW, "batch.completed"}),
        (["--generation", "fox-2"], {"generation.submitted"}),
        (["--since", "1h"], {*FLOW, "batch.completed"}),
    ],
)
def test_options_select(darkroom: Darkroom, ledger: Ledger, arguments: list[str], types: set[str]):
    archived(ledger, batch="spring", key="fox-1")
    submitted(ledger, key="fox-2")
    found = documents(darkroom("events", "list", *arguments, "--json").stdout)
    assert {one["type"] for one in found} == types


def test_a_limit_says_that_there_are_more(darkroom: Darkroom, ledger: Ledger):
    archived(ledger)
    result = darkroom("events", "list", "--limit", "2")
    assert result.stdout.count("\n") == 2
    assert result.stderr == "2 shown; there are more: --all or --limit N\n"
    assert darkroom("events", "list", "--all").stdout.count("\n") == len(FLOW)


def test_nothing_is_said_to_be_nothing(darkroom: Darkroom):
    result = darkroom("events", "list")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "No matching events.\n")


def test_a_pattern_that_no_event_matches_is_a_mistake(darkroom: Darkroom):
    result = darkroom("events", "list", "--type", "generation.faild")
    assert result.exit_code == 1
    assert result.stderr.startswith("darkroom: no event matches 'generation.faild'; there are: generation.submitted, ")


# --- listen ---


def test_listening_begins_with_what_happens_next(darkroom: Darkroom, ledger: Ledger, monkeypatch: pytest.MonkeyPatch):
    archived(ledger)
    happened: list[str] = []

    def go_on(_: float) -> None:
        if happened:
            raise KeyboardInterrupt
        happened.extend(one.generation.id for one in submitted(ledger))

    monkeypatch.setattr(log.time, "sleep", go_on)
    result = darkroom("events", "listen", "--json")
    (found,) = documents(result.stdout)
    assert (found["type"], found["data"]["generation_id"]) == ("generation.submitted", happened[0])
    assert result.stderr.splitlines() == [
        "Listening; stop with Ctrl-C.",
        f"To continue: darkroom events listen --after {found['id']}",
    ]
    assert result.exit_code == 0


@pytest.mark.usefixtures("stop_when_nothing_is_new")
def test_listening_continues_after_an_event(darkroom: Darkroom, ledger: Ledger):
    archived(ledger)
    first = documents(darkroom("events", "list", "--json").stdout)[-1]["id"]
    result = darkroom("events", "listen", "--after", first, "--json")
    assert [one["type"] for one in documents(result.stdout)] == FLOW[1:]


@pytest.mark.usefixtures("stop_when_nothing_is_new")
def test_events_are_forwarded_signed_like_webhooks_with_a_secret_that_stays(
    darkroom: Darkroom, ledger: Ledger, receiver: Subscriber, tmp_path: Path
):
    archived(ledger)
    first = documents(darkroom("events", "list", "--json").stdout)[-1]["id"]
    result = darkroom("events", "listen", "--after", first, "--forward-to", receiver.url, "--json")
    secret = re.search(r"signing with (whsec_\S+)\n", result.stderr)
    assert secret
    assert stat.S_IMODE((tmp_path / forward.SECRET_FILE).stat().st_mode) == 0o600
    assert [one.event for one in receiver.received] == documents(result.stdout)
    for one in receiver.received:
        assert one.id == one.event["id"]
        assert verify(secret[1], one.headers, one.body)
        assert f"  -> HTTP 204  {one.id}\n" in result.stderr
    again = darkroom("events", "listen", "--after", first, "--forward-to", receiver.url)
    assert secret[0] in again.stderr


@pytest.mark.usefixtures("stop_when_nothing_is_new")
def test_a_forward_that_fails_is_reported_and_the_next_one_is_sent(
    darkroom: Darkroom, ledger: Ledger, receiver: Subscriber
):
    receiver.answer = lambda number: 500 if number == 0 else 204
    archived(ledger)
    first = documents(darkroom("events", "list", "--json").stdout)[-1]["id"]
    said = darkroom("events", "listen", "--after", first, "--forward-to", receiver.url).stderr
    assert receiver.types == FLOW[1:]
    assert [line.split()[2] for line in said.splitlines() if "->" in line] == ["500", "204", "204"]
    with subscriber() as gone:
        url = gone.url
    said = darkroom("events", "listen", "--after", first, "--forward-to", url).stderr
    assert said.count("not delivered: it refuses the connection") == 3
    assert "token-of-the-subscriber" not in said


@pytest.mark.usefixtures("stop_when_nothing_is_new")
def test_a_ledger_that_is_away_for_a_while_is_asked_again(
    darkroom: Darkroom, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
):
    archived(ledger)
    first = documents(darkroom("events", "list", "--json").stdout)[-1]["id"]
    asked = 0
    horizon_of = log.horizon_of

    def away_at_first(here: Any) -> int | None:
        nonlocal asked
        asked += 1
        if asked == 1:
            raise LedgerUnavailable("it is busy")
        return horizon_of(here)

    def go_on(_: float) -> None:
        if asked > 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(log, "horizon_of", away_at_first)
    monkeypatch.setattr(log.time, "sleep", go_on)
    result = darkroom("events", "listen", "--after", first, "--json")
    assert "the ledger is unavailable, retrying: it is busy\n" in result.stderr
    assert len(documents(result.stdout)) == 3


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--after", "evt_99_1"], "there is no event evt_99_1: it was pruned, or belongs to another ledger; there is"),
        (["--after", "gen_1"], "'gen_1' is not the id of an event, such as evt_"),
        (["--forward-to", "localhost:3000"], "the address is not of the form https://host/path"),
        (["--forward-to", "http://me:secret@127.0.0.1/"], "the address has a user name or a #"),
        (["--forward-to", ""], "give one address, of the form https://host/path"),
        (["--types", "nothing.*"], "no event matches 'nothing.*'"),
        (["--batch", "spring"], "there is no batch"),
    ],
)
def test_listening_refuses_what_it_cannot_do(darkroom: Darkroom, arguments: list[str], sentence: str):
    result = darkroom("events", "listen", *arguments)
    assert result.exit_code == 1
    assert f"darkroom: {sentence}" in result.stderr
    assert "secret" not in result.stderr.replace("signing", "")


# --- resend ---


@pytest.fixture
def shop(monkeypatch: pytest.MonkeyPatch, ledger: Ledger) -> str:
    monkeypatch.setenv("DARKROOM_NOTIFY_TASKS", "shop.on_event@shop,billing.on_event")
    ledger.events.register_subscribers(["shop.on_event@shop", "billing.on_event"])
    return "shop.on_event@shop"


def test_an_event_is_delivered_again_to_the_one_that_is_named(darkroom: Darkroom, ledger: Ledger, shop: str):
    archived(ledger)
    first, *_ = told(ledger, shop)
    result = darkroom("events", "resend", first, "--subscriber", shop)
    assert result.stdout == f"{shop}  1 event will be delivered again\n"
    assert darkroom.bells == ["notify"]
    assert told(ledger, shop) == [first]


def test_without_a_name_it_goes_to_all(darkroom: Darkroom, ledger: Ledger, shop: str):
    archived(ledger)
    first, *_ = told(ledger, shop)
    result = darkroom("events", "resend", first, "--json")
    # The other one has not got it yet, and will.
    assert documents(result.stdout) == [
        {"subscriber": shop, "resent": 1, "waiting": 0},
        {"subscriber": "billing.on_event", "resent": 0, "waiting": 1},
    ]


def test_all_of_a_time_go_to_one_that_lost_them_and_only_those_that_it_wants(
    darkroom: Darkroom, ledger: Ledger, shop: str, monkeypatch: pytest.MonkeyPatch
):
    archived(ledger)
    before = told(ledger, shop)
    monkeypatch.setenv("DARKROOM_NOTIFY_EVENTS", "generation.*")
    assert darkroom("events", "resend", "--since", "1h", "--subscriber", shop).exit_code == 0
    assert told(ledger, shop) == [before[0], before[1], before[3]]


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        ([], 2, "give either IDs, or --since with --subscriber"),
        (["--since", "1h"], 2, "--since needs --subscriber: the one that missed events"),
        (["evt_1_1", "--since", "1h", "--subscriber", "x"], 2, "give either IDs, or --since with --subscriber"),
        (["evt_9_1"], 1, "there is no event evt_9_1"),
        (["nonsense"], 1, "'nonsense' is not the id of an event"),
        (
            ["--since", "1h", "--subscriber", "x"],
            1,
            "there is no subscriber 'x'; there are: shop.on_event@shop, billing",
        ),
    ],
)
@pytest.mark.usefixtures("shop")
def test_what_cannot_be_sent_again_is_a_sentence(darkroom: Darkroom, arguments: list[str], code: int, sentence: str):
    result = darkroom("events", "resend", *arguments)
    assert (result.exit_code, darkroom.bells) == (code, [])
    assert sentence in result.stderr


# --- trigger ---


@pytest.mark.parametrize("name", EVENTS)
def test_an_example_of_every_event_can_be_sent_anywhere(darkroom: Darkroom, receiver: Subscriber, name: str):
    result = darkroom("events", "trigger", name, "--to", receiver.url)
    (received,) = receiver.received
    assert received.event["test"] is True
    assert received.event["type"] == name
    EVENTS[name].model_validate_json(received.body)
    secret = re.search(r"signed with (\S+)\n", result.stderr)
    assert secret
    assert verify(secret[1], received.headers, received.body)
    assert re.fullmatch(r"the address  evt_test_\w+  accepted\n", result.stdout)


def test_subscribers_get_an_example_signed_as_always(
    darkroom: Darkroom, receiver: Subscriber, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("DARKROOM_NOTIFY_URLS", receiver.url)
    monkeypatch.setenv("DARKROOM_NOTIFY_SECRET", SECRET)
    result = darkroom("events", "trigger", "batch.completed", "--json")
    (received,) = receiver.received
    assert received.is_genuine
    (answer,) = documents(result.stdout)
    assert (answer["id"], answer["error"]) == (received.id, None)
    assert list(ledger.events.newest_events(log.EventFilter())) == []


def test_a_receiver_that_refuses_makes_it_fail(darkroom: Darkroom, receiver: Subscriber):
    receiver.answer = lambda _: 400
    result = darkroom("events", "trigger", "asset.expired", "--to", receiver.url)
    assert (result.exit_code, "HTTP 400" in result.stdout) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["generation.fail"], 2, "unknown event type 'generation.fail'; expected one of generation.submitted, "),
        (["asset.expired"], 1, "there is no subscriber: `darkroom subscriber add` one, or set DARKROOM_NOTIFY_URLS"),
        (["asset.expired", "--to", "http://127.0.0.1/", "--subscriber", "x"], 2, "give either --to or --subscriber"),
    ],
)
def test_what_cannot_be_triggered_is_a_sentence(darkroom: Darkroom, arguments: list[str], code: int, sentence: str):
    result = darkroom("events", "trigger", *arguments)
    assert result.exit_code == code
    assert sentence in result.stderr


def test_a_data_folder_that_cannot_be_written_is_a_sentence(
    darkroom: Darkroom, receiver: Subscriber, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, sqlite_url: str
):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DATABASE_URL", sqlite_url)
    monkeypatch.setenv("DARKROOM_DATA", str(tmp_path / "file"))
    result = darkroom("events", "trigger", "asset.expired", "--to", receiver.url)
    assert result.exit_code == 1
    assert "set DARKROOM_DATA to a writable folder" in result.stderr
