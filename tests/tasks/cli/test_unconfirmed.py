"""`darkroom unconfirmed` tells what is known, and `darkroom resolve` does what a person has found out."""

import json
import os
import pwd
import socket
from datetime import timedelta
from typing import Any

import pytest

from tasks.cli.ui.operator import who
from tests.factories import ask
from tests.tasks.cli import stories
from tests.tasks.cli.conftest import Darkroom
from tests.worker.providers.loopback import Loopback, reply
from worker.errors import Uncertain
from worker.generation import Generation, Operation, State
from worker.ledger import Ledger
from worker.ledger.changes import Person
from worker.ledger.dispatch import Limits
from worker.ledger.submission import Decision, Submitted

ME = f"{pwd.getpwuid(os.getuid()).pw_name} on {socket.gethostname()}"


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def state_of(ledger: Ledger, generation_id: str) -> State:
    return ledger.generations.get([generation_id])[0].state


# --- unconfirmed


def test_without_any_it_says_so(darkroom: Darkroom, ledger: Ledger) -> None:
    stories.submitted(ledger)
    result = darkroom("unconfirmed")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "No unconfirmed submissions.\n")
    assert darkroom("unconfirmed", "--json").stdout == ""


def test_what_is_known_of_each_is_told_to_people_and_programs(
    darkroom: Darkroom, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PUBLIC_URL", "https://studio.test")
    monkeypatch.setenv("DARKROOM_SIGNING_KEYS", "k1:" + "s" * 32)
    now = ledger.database.clock()
    ledger.database.clock = lambda: now - timedelta(minutes=20)
    generation_id = stories.unconfirmed(ledger)
    ledger.database.clock = lambda: now - timedelta(minutes=10)
    ask(ledger, 9, timedelta(minutes=30))
    result = darkroom("unconfirmed")
    due = (now + timedelta(minutes=40)).astimezone()
    assert result.stdout.splitlines() == [
        f"{generation_id}  acedata  sent 20 min ago",
        "  a fox",
        f"  no callback; searched in the provider's list once, again in 20 min; wait until {due:%Y-%m-%d %H:%M}",
        "  no answer came in time (code read_timeout)",
    ]
    assert "darkroom resolve ID --charged|--not-charged|--resubmit" in result.stderr
    (record,) = lines(darkroom("unconfirmed", "--json").stdout)
    assert (record["account"], record["prompt"]) == ("default", "a fox")
    assert (record["id"], record["reason"], record["listed"]) == (generation_id, "read_timeout", "by callback URL")
    assert (record["asked"], record["horizon"], record["callbacks"]) == (1, "before", [])
    assert 1200 <= record["seconds"] < 1260
    assert record["asked_again_at"] is not None


def test_without_a_callback_url_it_is_looked_for_by_its_request(darkroom: Darkroom, ledger: Ledger) -> None:
    stories.unconfirmed(ledger)
    ask(ledger, 9, timedelta(minutes=30))
    assert "searched in the provider's list" in darkroom("unconfirmed").stdout
    (record,) = lines(darkroom("unconfirmed", "--json").stdout)
    assert (record["listed"], record["perhaps"]) == ("by its request", [])


def test_what_no_list_shows_is_not_said_to_be_looked_for(darkroom: Darkroom, ledger: Ledger) -> None:
    stories.unconfirmed(ledger, operation=Operation.TRANSLATE)
    ask(ledger, 9, timedelta(minutes=30))
    assert "no list that shows it" in darkroom("unconfirmed").stdout
    (record,) = lines(darkroom("unconfirmed", "--json").stdout)
    assert (record["listed"], record["asked"], record["asked_again_at"]) == ("no", 0, None)


def test_tasks_that_may_be_it_are_named_with_what_to_do(darkroom: Darkroom, ledger: Ledger) -> None:
    generation_id = stories.unconfirmed(ledger)
    (attempt,) = ledger.generations.story(generation_id).attempts
    ledger.generations.note_candidates({attempt.id: ["t1", "t2"]})
    advice = (
        "one of the tasks t1, t2: the same request at the same time, but perhaps not ours; if it is: "
        f"darkroom resolve {generation_id} --charged --task-id t1"
    )
    assert f"  possibly {advice}" in darkroom("unconfirmed").stdout
    (record,) = lines(darkroom("unconfirmed", "--json").stdout)
    assert record["perhaps"] == ["t1", "t2"]
    assert " ".join(darkroom("show", generation_id).stdout.split()).count(advice) == 1
    (record,) = lines(darkroom("show", generation_id, "--json").stdout)
    assert record["attempts"][0]["perhaps"] == ["t1", "t2"]
    ledger.submissions.resolve([generation_id], Decision.CHARGED, Person("somebody"), "t2")
    assert "perhaps" not in darkroom("show", generation_id).stdout


def test_the_horizon_is_a_setting(darkroom: Darkroom, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    now = ledger.database.clock()
    ledger.database.clock = lambda: now - timedelta(minutes=20)
    stories.unconfirmed(ledger)
    for minutes, side in (("30", "before"), ("10", "after")):
        monkeypatch.setenv("DARKROOM_HORIZON_MINUTES", minutes)
        assert lines(darkroom("unconfirmed", "--json").stdout)[0]["horizon"] == side
        assert ("needs a manual decision" in darkroom("unconfirmed").stdout) == (side == "after")


def unconfirmed_of(ledger: Ledger, account: str, prompt: str) -> Generation:
    (generation,) = stories.queued(ledger, prompt)
    ledger.dispatch.run("acedata", Limits(1000, 1000), accounts=(account,))
    (claim,) = ledger.submissions.claim(1, stories.MINUTE)
    unclear = Uncertain("no answer came in time", code="read_timeout")
    ledger.submissions.record([Submitted(claim.attempt_id, unclear)], stories.MINUTE)
    return generation


def test_a_long_prompt_is_told_by_its_beginning_and_whose_history_has_it(darkroom: Darkroom, ledger: Ledger) -> None:
    generation = unconfirmed_of(ledger, "shop", "a harbour " * 50)
    heading, prompt, *_ = darkroom("unconfirmed").stdout.splitlines()
    assert heading.startswith(f"{generation.id}  acedata, account shop  sent ")
    assert prompt.startswith("  a harbour a harbour")
    assert prompt.endswith("…")
    assert len(prompt) == 102
    (record,) = lines(darkroom("unconfirmed", "--json").stdout)
    assert (record["account"], record["prompt"]) == ("shop", generation.prompt)


def test_only_those_of_a_provider_are_told(darkroom: Darkroom, ledger: Ledger) -> None:
    generation_id = stories.unconfirmed(ledger)
    assert generation_id in darkroom("unconfirmed", "--provider", "acedata").stdout
    assert darkroom("unconfirmed", "--provider", "kie").stdout == ""
    result = darkroom("unconfirmed", "--provider", "nobody")
    assert result.exit_code == 1
    assert "unknown provider 'nobody'; expected one of acedata" in result.stderr


# --- resolve


@pytest.mark.parametrize(
    ("flag", "state", "words"),
    [
        ("--charged", State.FAILED, "failed: charged, without a result"),
        ("--not-charged", State.FAILED, "failed: not charged; `darkroom retry` submits it again"),
        ("--resubmit", State.QUEUED, "queued: it will be submitted again"),
    ],
)
def test_a_decision_is_done_and_kept_with_who_and_why(
    darkroom: Darkroom, ledger: Ledger, monkeypatch: pytest.MonkeyPatch, flag: str, state: State, words: str
) -> None:
    monkeypatch.setenv("LOGNAME", "somebody-else")
    generation_id = stories.unconfirmed(ledger)
    result = darkroom("resolve", generation_id, flag, "--why", "it is \n in the dashboard")
    assert (result.exit_code, result.stdout) == (0, f"{generation_id} {words}\n")
    assert state_of(ledger, generation_id) is state
    cause = ledger.generations.story(generation_id).transitions[-1].cause
    assert cause == f"resolved by {ME}: {flag.strip('-').replace('-', ' ')} (it is in the dashboard)"
    assert darkroom.bells == ["dispatch"]


def test_several_are_decided_at_once_and_told_as_json(darkroom: Darkroom, ledger: Ledger) -> None:
    ids = [stories.unconfirmed(ledger) for _ in range(3)]
    told = lines(darkroom("resolve", *ids, "--not-charged", "--json").stdout)
    assert [(one["id"], one["decision"], one["by"]) for one in told] == [(one, "not charged", ME) for one in ids]


def test_one_that_is_wrong_changes_none(darkroom: Darkroom, ledger: Ledger) -> None:
    unclear, submitted = stories.unconfirmed(ledger), stories.submitted(ledger)
    for wrong, words in (
        (submitted, f"{submitted} is submitted, not unconfirmed"),
        ("gen_unknown", "there is no generation 'gen_unknown'"),
    ):
        result = darkroom("resolve", unclear, wrong, "--resubmit")
        assert (result.exit_code, result.stdout) == (1, "")
        assert words in result.stderr
    assert state_of(ledger, unclear) is State.UNCONFIRMED
    assert darkroom.bells == []


@pytest.mark.parametrize(
    "arguments",
    [
        ("gen_1",),
        ("--charged",),
        ("gen_1", "--charged", "--resubmit"),
        ("gen_1", "--resubmit", "--task-id", "t"),
        ("gen_1", "gen_2", "--charged", "--task-id", "t"),
        ("gen_1", "--charged", "--task-id", " "),
    ],
)
def test_a_decision_must_be_clear(darkroom: Darkroom, arguments: tuple[str, ...]) -> None:
    assert darkroom("resolve", *arguments).exit_code == 2


def test_a_task_that_the_provider_knows_is_adopted(
    darkroom: Darkroom, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    generation_id = stories.unconfirmed(ledger)
    with Loopback(reply(200, {"id": "found-1", "created_at": 1.0, "request": {}})) as provider:
        monkeypatch.setenv("ACEDATACLOUD_BASE_URL", provider.url)
        result = darkroom("resolve", generation_id, "--charged", "--task-id", "found-1")
    assert (result.exit_code, provider.bodies) == (0, [{"action": "retrieve", "id": "found-1"}])
    assert result.stdout == f"{generation_id} submitted: it is task found-1; its result is requested now\n"
    found = ledger.generations.get([generation_id])[0]
    assert (found.state, found.task_id) == (State.SUBMITTED, "found-1")
    assert darkroom.bells == ["poll", "dispatch"]


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (200, {}, "Ace Data Cloud has no task found-1: check its id; nothing was changed"),
        (500, {}, "Ace Data Cloud "),
    ],
)
def test_a_task_that_cannot_be_seen_there_is_not_adopted(
    darkroom: Darkroom, ledger: Ledger, monkeypatch: pytest.MonkeyPatch, status: int, body: Any, words: str
) -> None:
    generation_id = stories.unconfirmed(ledger)
    with Loopback(reply(status, body)) as provider:
        monkeypatch.setenv("ACEDATACLOUD_BASE_URL", provider.url)
        result = darkroom("resolve", generation_id, "--charged", "--task-id", "found-1")
    assert result.exit_code == 1
    assert words in result.stderr
    assert state_of(ledger, generation_id) is State.UNCONFIRMED


def test_an_account_that_does_not_know_the_task_is_named(
    darkroom: Darkroom, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    generation_id = unconfirmed_of(ledger, "shop", "a fox").id
    monkeypatch.setenv("ACEDATACLOUD_API_TOKEN", "studio:KEY1,shop:KEY2")
    with Loopback(reply(200, {})) as provider:
        monkeypatch.setenv("ACEDATACLOUD_BASE_URL", provider.url)
        result = darkroom("resolve", generation_id, "--charged", "--task-id", "found-1")
    assert "Ace Data Cloud has no task found-1 of its account shop: check its id" in result.stderr


def test_who_has_only_a_number_is_named_by_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 4_000_000)
    assert who().startswith("uid 4000000 on ")
