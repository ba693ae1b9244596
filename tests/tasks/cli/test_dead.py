"""`darkroom dead`: everything that was given up, with an ID by which it can be tried again."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tasks.cli.ui.operator import who
from tests.tasks.cli import stories
from tests.tasks.cli.conftest import Darkroom
from worker.errors import CallbackUnreadable
from worker.generation import Accepted, Link, Outcome, State, Status
from worker.ledger import Ledger
from worker.ledger.assets import Archived, Lost, Stored
from worker.ledger.events import DeliveryFilter, Handed
from worker.ledger.generations import short_id
from worker.ledger.outcome import Delivery, News

MINUTE = stories.MINUTE


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def listed(darkroom: Darkroom, *more: str) -> list[str]:
    return [line["id"] for line in lines(darkroom("dead", "--json", *more).stdout)]


def set_aside(ledger: Ledger, *bodies: bytes) -> list[str]:
    """Callbacks that nobody could read."""
    attempt_id = stories.answered(ledger)[1]
    now = datetime.now(UTC)
    ledger.callbacks.store(
        [
            Delivery(
                attempt_id=attempt_id,
                provider="acedata",
                received_at=now,
                remote_address=None,
                headers={},
                body=body,
                digest=body.hex(),
            )
            for body in bodies
        ]
    )
    stored = ledger.callbacks.claim(len(bodies), MINUTE)
    ledger.generations.apply_outcomes(
        [
            News(
                attempt_id=attempt_id,
                outcome=CallbackUnreadable("the body is not JSON"),
                cause="callback",
                callback_id=one.id,
            )
            for one in stored
        ]
    )
    return [f"callback:{one.id}" for one in stored]


def given_up(ledger: Ledger) -> list[str]:
    """A generation of three assets of which the first is stored and the others are lost; the IDs of those."""
    generation_id, attempt_id = stories.answered(ledger, Accepted("task-9"))
    outcome = Outcome(
        status=Status.SUCCEEDED, task_id="task-9", links=tuple(Link(f"{stories.LINK}&n={n}") for n in range(3))
    )
    deadlines = (datetime.now(UTC) + timedelta(hours=24),) * 3
    ledger.generations.apply_outcomes(
        [News(attempt_id=attempt_id, outcome=outcome, cause="callback", deadlines=deadlines)]
    )
    (claim,) = ledger.assets.claim(1, MINUTE)
    aside = f"{stories.LINK}: truncated; its bytes lie under pictures/rejected/{generation_id}/1"
    stored = Stored(index=0, object_key="pictures/0.png", sha256="ab" * 32, bytes=10, content_type="image/png")
    ledger.assets.record([Archived(claim, (stored, Lost(1, aside), Lost(2, "HTTP 404")), described=False)])
    return [f"asset:{generation_id}/1", f"asset:{generation_id}/2"]


def undelivered(ledger: Ledger) -> str:
    """The newest event, which its subscriber wants no more."""
    ledger.events.register_subscribers(["billing.on_event"])
    (claim,) = ledger.events.claim(["billing.on_event"], 1, MINUTE)
    ledger.events.enqueue_new(claim, DeliveryFilter())
    delivery = ledger.events.record_and_claim_next(claim, MINUTE)
    assert delivery is not None
    refused = Handed(delivery, f"it answers with {stories.LINK}", final=True)
    ledger.events.record_and_claim_next(claim, MINUTE, refused)
    return f"event:{delivery.event_id}/billing.on_event"


def test_everything_that_was_given_up_stands_in_one_list(darkroom: Darkroom, ledger: Ledger) -> None:
    assert darkroom("dead").stderr == "Nothing was abandoned.\n"
    (callback,) = set_aside(ledger, b"?")
    assets = given_up(ledger)
    event = undelivered(ledger)
    assert listed(darkroom) == [callback, *assets, event]
    assert listed(darkroom, "--kind", "assets") == assets
    output = darkroom("dead").stdout.splitlines()
    assert [line.split()[0] for line in output[::2]] == [callback, *assets, event]
    (first, *_) = lines(darkroom("dead", "--json").stdout)
    assert output[0].startswith(f"{callback}  unreadable  {datetime.now().astimezone():%Y-}")
    assert output[0].endswith(f"  of {short_id(first['generation'])}")
    assert output[1] == "  the body is not JSON"
    assert "darkroom dead replay ID" in darkroom("dead").stderr
    assert "its bytes lie under pictures/rejected/" in output[3]
    assert "  generation.submitted  " in output[6]
    assert output[7].startswith("  it answers with https://cdn")
    assert darkroom.bells == []


def test_programs_get_what_each_kind_has_besides(darkroom: Darkroom, ledger: Ledger) -> None:
    set_aside(ledger, b"?")
    given_up(ledger)
    undelivered(ledger)
    callback, asset, _, event = lines(darkroom("dead", "--json").stdout)
    common = {"id", "kind", "at", "error"}
    assert set(callback) == common | {"attempt", "generation", "verdict", "bytes"}
    assert set(asset) == common | {"generation", "index", "type"}
    assert set(event) == common | {"event_id", "type", "generation", "subscriber", "tries"}
    assert [one["kind"] for one in (callback, asset, event)] == ["callbacks", "assets", "events"]
    assert (event["type"], event["subscriber"], event["tries"]) == ("generation.submitted", "billing.on_event", 1)
    assert all(datetime.fromisoformat(one["at"]).tzinfo for one in (callback, asset, event))


def test_no_line_shows_a_link_that_still_works(darkroom: Darkroom, ledger: Ledger) -> None:
    given_up(ledger)
    undelivered(ledger)
    for more in ((), ("--json",)):
        output = darkroom("dead", *more).output
        assert "[redacted]" in output
        assert stories.SIGNATURE not in output


def test_callbacks_are_applied_again(darkroom: Darkroom, ledger: Ledger) -> None:
    first, second = set_aside(ledger, b"?", b"!")
    assert darkroom("dead", "replay", first).stdout == f"{first} will be applied again\n"
    assert listed(darkroom) == [second]
    assert len(ledger.callbacks.claim(10, MINUTE)) == 1
    assert darkroom.bells == ["ingest"]


def test_assets_are_asked_for_again_with_their_whole_generation(darkroom: Darkroom, ledger: Ledger) -> None:
    first, second = given_up(ledger)
    generation_id = first.removeprefix("asset:").removesuffix("/1")
    result = darkroom("dead", "replay", first, second)
    assert (result.exit_code, result.stdout.splitlines()) == (
        0,
        [f"{first} will be downloaded again", f"{second} is already being archived"],
    )
    assert ledger.generations.get([generation_id])[0].state is State.SUCCEEDED
    states = [asset.state for asset in ledger.generations.assets_of([generation_id])[generation_id]]
    assert states == ["stored", "waiting", "waiting"]
    assert darkroom.bells == ["archive"]
    assert listed(darkroom) == []


def test_events_are_delivered_again(darkroom: Darkroom, ledger: Ledger) -> None:
    stories.submitted(ledger)
    event = undelivered(ledger)
    assert darkroom("dead", "replay", event).stdout == f"{event} will be delivered again\n"
    (claim,) = ledger.events.claim(["billing.on_event"], 1, MINUTE)
    delivery = ledger.events.record_and_claim_next(claim, MINUTE)
    assert delivery is not None
    assert f"event:{delivery.event_id}/billing.on_event" == event
    assert darkroom.bells == ["notify"]


def test_all_of_it_or_one_kind_is_tried_again_and_a_second_time_there_is_nothing(
    darkroom: Darkroom, ledger: Ledger
) -> None:
    callbacks, assets = set_aside(ledger, b"?", b"!"), given_up(ledger)
    event = undelivered(ledger)
    done = lines(darkroom("dead", "replay", "--all", "--kind", "assets", "--json").stdout)
    assert [(line["id"], line["done"]) for line in done] == [(one, True) for one in assets]
    result = darkroom("dead", "replay", "--all", "--json")
    assert result.exit_code == 0
    assert {line["id"] for line in lines(result.stdout)} == {*callbacks, event}
    again = darkroom("dead", "replay", "--all")
    assert (again.exit_code, again.stdout, again.stderr) == (0, "", "Nothing was abandoned.\n")
    assert sorted(darkroom.bells) == ["archive", "ingest", "notify"]


def test_what_failed_is_never_submitted_again_by_a_replay(darkroom: Darkroom, ledger: Ledger) -> None:
    """Not even where it has an asset that was given up: that would be paid for."""
    generation_id = stories.failed(ledger)
    result = darkroom("dead", "replay", f"asset:{generation_id}/0")
    assert (result.exit_code, result.stdout) == (1, f"asset:{generation_id}/0 was not found\n")
    assert ledger.generations.get([generation_id])[0].state is State.FAILED
    archived = stories.archived(ledger, "task-2")
    assert darkroom("dead", "replay", f"asset:{archived}/0").stdout == (
        f"asset:{archived}/0 was not abandoned: it is stored, its generation archived\n"
    )
    assert darkroom.bells == []


@pytest.mark.parametrize(
    ("letter_id", "sentence"),
    [
        ("callback:7", "does not exist (it may have been pruned), or is not applied yet"),
        ("asset:gen_unknown/0", "belongs to no generation in the ledger"),
        (
            "event:7/nobody",
            "was not abandoned, does not exist (it may have been pruned), or its notify address was ended",
        ),
    ],
)
def test_what_nobody_knows_is_told(darkroom: Darkroom, letter_id: str, sentence: str) -> None:
    result = darkroom("dead", "replay", letter_id)
    assert (result.exit_code, result.stdout) == (1, f"{letter_id} {sentence}\n")
    assert darkroom.bells == []


def test_one_wrong_id_among_good_ones_leaves_those_as_good(darkroom: Darkroom, ledger: Ledger) -> None:
    (callback,) = set_aside(ledger, b"?")
    result = darkroom("dead", "replay", "callback:99", callback)
    assert result.exit_code == 1
    assert f"{callback} will be applied again" in result.stdout
    assert darkroom.bells == ["ingest"]


@pytest.mark.parametrize(
    "wrong", ["12", "callback:", "callback:x", "asset:gen_1", "event:57", "picture:1", "callback:1 "]
)
def test_what_is_no_id_is_a_sentence_and_changes_nothing(darkroom: Darkroom, ledger: Ledger, wrong: str) -> None:
    (callback,) = set_aside(ledger, b"?")
    result = darkroom("dead", "replay", callback, wrong)
    assert result.exit_code == 2
    assert f"{wrong!r} is not an ID from `darkroom dead`, such as callback:12" in result.stderr
    assert listed(darkroom) == [callback]


@pytest.mark.parametrize(
    "arguments",
    [("replay",), ("replay", "callback:1", "--all"), ("replay", "callback:1", "--kind", "events"), ("--json", "replay"),
     ("--kind", "letters")],
)  # fmt: skip
def test_what_shall_be_tried_again_must_be_clear(darkroom: Darkroom, arguments: tuple[str, ...]) -> None:
    assert darkroom("dead", *arguments).exit_code == 2


def test_the_doctor_knows_of_dead_letters(darkroom: Darkroom, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    set_aside(ledger, b"?")
    undelivered(ledger)
    found = {one["check"]: one for one in json.loads(darkroom("doctor", "--json").stdout)["checks"]}
    for kind in ("callbacks", "events"):
        assert found[kind]["verdict"] == "warn"
        assert found[kind]["message"] == (
            "1 abandoned: `darkroom dead` shows why; `dead replay` tries again, `dead dismiss` clears the list"
        )


def test_what_nobody_can_ever_apply_is_taken_off_the_list_and_still_told_of(
    darkroom: Darkroom, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    (callback,) = set_aside(ledger, b"?")
    generation_id = lines(darkroom("dead", "--json").stdout)[0]["generation"]
    event = undelivered(ledger)
    result = darkroom("dead", "dismiss", callback, event, "--why", "a  scanner\nsent it")
    assert (result.exit_code, result.stdout) == (0, f"{callback} dismissed\n{event} dismissed\n")
    assert listed(darkroom) == []
    checks = {one["check"] for one in json.loads(darkroom("doctor", "--json").stdout)["checks"]}
    assert not checks & {"callbacks", "events"}
    told = json.loads(darkroom("show", generation_id, "--json").stdout)
    (came,), (refused,) = told["callbacks"], told["undelivered"]
    assert (came["verdict"], refused["state"]) == ("dismissed", "dismissed")
    said = f" (dismissed by {who()}: a scanner sent it)"
    assert came["error"] == f"the body is not JSON{said}"
    assert refused["error"].endswith(said)
    shown = " ".join(darkroom("show", generation_id).stdout.split())
    assert f"dismissed: the body is not JSON{said}" in shown
    assert "generation.submitted, for billing.on_event, dismissed: it answers with" in shown
    assert darkroom.bells == []


def test_all_callbacks_and_events_or_those_of_one_kind_are_dismissed_and_assets_stay(
    darkroom: Darkroom, ledger: Ledger
) -> None:
    callbacks, assets = set_aside(ledger, b"?", b"!"), given_up(ledger)
    undelivered(ledger)
    done = lines(darkroom("dead", "dismiss", "--all", "--kind", "callbacks", "--json").stdout)
    assert [(one["id"], one["done"], one["by"]) for one in done] == [(one, True, who()) for one in callbacks[::-1]]
    assert darkroom("dead", "dismiss", "--all").stdout == "1 dismissed\n"
    assert listed(darkroom) == assets
    again = darkroom("dead", "dismiss", "--all")
    assert (again.exit_code, again.stdout, again.stderr) == (0, "", "There is nothing to dismiss.\n")


def test_what_was_dismissed_can_be_replayed_by_its_id(darkroom: Darkroom, ledger: Ledger) -> None:
    (callback,), event = set_aside(ledger, b"?"), undelivered(ledger)
    darkroom("dead", "dismiss", "--all")
    assert darkroom("dead", "replay", callback, event).exit_code == 0
    assert len(ledger.callbacks.claim(10, MINUTE)) == 1
    assert ledger.maintenance.is_due("notify")


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (
            "callback:99",
            "there is no dead callback 99; see `darkroom dead`; nothing was changed",
        ),
        ("event:57/nobody", "there is no dead event 57 for nobody"),
        ("asset:gen_1/0", "asset:gen_1/0 cannot be dismissed: its generation stays expired"),
    ],
)
def test_one_wrong_id_dismisses_nothing(darkroom: Darkroom, ledger: Ledger, wrong: str, sentence: str) -> None:
    (callback,), event = set_aside(ledger, b"?"), undelivered(ledger)
    result = darkroom("dead", "dismiss", callback, event, wrong)
    assert (result.exit_code, result.stdout) == (1, "")
    assert sentence in result.stderr
    assert listed(darkroom) == [callback, event]


@pytest.mark.parametrize("arguments", [(), ("callback:1", "--all"), ("callback:x",), ("--all", "--kind", "assets")])
def test_what_shall_be_dismissed_must_be_clear(darkroom: Darkroom, arguments: tuple[str, ...]) -> None:
    assert darkroom("dead", "dismiss", *arguments).exit_code == 2


def test_a_callback_for_a_submission_that_nobody_knows_names_no_generation(darkroom: Darkroom, ledger: Ledger) -> None:
    ledger.callbacks.store(
        [
            Delivery(
                attempt_id="f" * 32,
                provider="acedata",
                received_at=datetime.now(UTC),
                remote_address=None,
                headers={},
                body=b"{}",
                digest="00",
            )
        ]
    )
    (stored,) = ledger.callbacks.claim(1, MINUTE)
    outcome = Outcome(status=Status.SUCCEEDED, task_id="task-1")
    assert ledger.generations.apply_outcomes(
        [News(attempt_id="f" * 32, outcome=outcome, cause="callback", callback_id=stored.id)]
    ) == ["orphan"]
    (letter,) = lines(darkroom("dead", "--json").stdout)
    assert letter["generation"] is None
    assert darkroom("dead").stdout.endswith("\n  the ledger has no such attempt\n")
