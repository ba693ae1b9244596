"""`darkroom list` and `darkroom show`: the same facts for people and for programs, and never a secret."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.tasks.cli import stories
from tests.tasks.cli.conftest import Darkroom
from worker.errors import CallbackUnreadable
from worker.generation import Accepted, GenerationRequest, Operation
from worker.ledger import Ledger
from worker.ledger.generations import NewGeneration
from worker.ledger.outcome import Delivery, News

#: what programs may rely on
FACTS = {"id", "state", "provider", "operation", "prompt", "task_id", "parent", "reason", "assets", "transitions"}
STORY = FACTS | {"action", "depth", "batch", "message", "children", "attempts", "callbacks", "events", "undelivered"}


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_the_newest_come_first(darkroom: Darkroom, ledger: Ledger) -> None:
    for prompt in ("a fox", "an owl", "a bee"):
        stories.queued(ledger, prompt)
    result = darkroom("list", "--limit", "2", "--json")
    assert [item["prompt"] for item in lines(result.stdout)] == ["a bee", "an owl"]


def test_a_list_goes_on_over_many_pages(darkroom: Darkroom, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.usecases.queries.PAGE", 2)
    made = stories.queued(ledger, *(f"fox {number}" for number in range(5)))
    result = darkroom("list", "--json")
    assert {item["id"] for item in lines(result.stdout)} == {one.id for one in made}


def test_a_list_can_be_narrowed_to_a_state_and_a_batch(darkroom: Darkroom, ledger: Ledger) -> None:
    stories.failed(ledger)
    stories.queued(ledger, "a fox", "an owl", batch="animals")
    assert len(lines(darkroom("list", "--state", "failed", "--json").stdout)) == 1
    assert len(lines(darkroom("list", "--batch", "animals", "--json").stdout)) == 2
    empty = darkroom("list", "--batch", "animals", "--state", "failed")
    assert (empty.exit_code, empty.stdout, empty.stderr) == (0, "", "there is none\n")


@pytest.mark.parametrize(
    ("arguments", "exit_code", "sentence"),
    [
        (("list", "--limit", "-1"), 2, "-1 is not in the range x>=1"),
        (("list", "--limit", "0"), 2, "0 is not in the range x>=1"),
        (("list", "--state", "lost"), 2, "'lost' is not one of 'queued'"),
        (("list", "--batch", "unknown"), 1, "there is no batch 'unknown'"),
        (("show", "gen_unknown"), 1, "there is no generation gen_unknown"),
        (("show",), 2, "Missing argument 'GENERATION'"),
    ],
)
def test_a_question_that_cannot_be_answered(
    darkroom: Darkroom, arguments: tuple[str, ...], exit_code: int, sentence: str
) -> None:
    result = darkroom(*arguments)
    assert result.exit_code == exit_code
    assert sentence in result.stderr
    assert result.stdout == ""


def test_the_facts_about_an_archived_generation(darkroom: Darkroom, ledger: Ledger) -> None:
    generation_id = stories.archived(ledger, "task-7")
    (listed,) = lines(darkroom("list", "--json").stdout)
    (shown,) = lines(darkroom("show", generation_id, "--json").stdout)
    assert listed.keys() >= FACTS
    assert shown.keys() >= STORY
    assert {name: shown[name] for name in listed} == listed
    assert (shown["state"], shown["task_id"]) == ("archived", "task-7")
    (asset,) = shown["assets"]
    assert asset["key"] == f"2026/11/21/single/{generation_id}/0.png"
    assert (asset["width"], asset["height"], asset["bytes"]) == (1024, 768, 1_234_567)
    assert [(move["from"], move["to"]) for move in shown["transitions"]] == [
        (None, "queued"),
        ("queued", "submitting"),
        ("submitting", "submitted"),
        ("submitted", "succeeded"),
        ("succeeded", "archived"),
    ]
    assert all(datetime.fromisoformat(move["at"]).tzinfo for move in shown["transitions"])


def a_callback(ledger: Ledger, attempt_id: str, error: str) -> None:
    body = b"what is this"
    ledger.callbacks.store([Delivery(attempt_id, "acedata", datetime.now(UTC), "192.0.2.1", {}, body, "00" * 32)])
    (stored,) = ledger.callbacks.claim(1, stories.MINUTE)
    ledger.generations.apply_outcomes([News(attempt_id, CallbackUnreadable(error), "callback", callback_id=stored.id)])


def test_no_answer_shows_a_link_that_still_works(darkroom: Darkroom, ledger: Ledger) -> None:
    prompt = f"{stories.LINK} as an oil painting"
    failed = stories.failed(ledger, batch="secrets")
    expired = stories.expired(ledger)
    _, attempt_id = stories.answered(ledger, Accepted("task-9"))
    a_callback(ledger, attempt_id, f"{stories.LINK} is no picture")
    (queued,) = stories.queued(ledger, prompt)
    seen = [darkroom("show", one, *more) for one in (failed, queued.id, expired) for more in ((), ("--json",))]
    seen += [darkroom("list", *more) for more in ((), ("--json",))]
    seen += [darkroom("dead", *more) for more in ((), ("--json",))]
    assert all(result.exit_code == 0 for result in seen)
    assert all(stories.SIGNATURE not in result.output for result in seen)
    assert "[redacted]" in seen[1].stdout


def test_a_prompt_is_not_taken_for_a_secret(darkroom: Darkroom, ledger: Ledger) -> None:
    stories.queued(ledger, "the ring bearer in armour")
    assert lines(darkroom("list", "--json").stdout)[0]["prompt"] == "the ring bearer in armour"


def test_a_prompt_cannot_repaint_the_terminal(darkroom: Darkroom, ledger: Ledger) -> None:
    (queued,) = stories.queued(ledger, "\x1b[2J[red]a[/red] :heart:")
    for command in (("list",), ("show", queued.id)):
        output = darkroom(*command).stdout
        assert "\x1b" not in output
        assert " [2J[red]a[/red] :heart:" in output


def test_the_timeline_tells_the_story_in_80_columns(darkroom: Darkroom, ledger: Ledger) -> None:
    parent, attempt_id = stories.answered(ledger, Accepted("task-9"), batch="animals")
    a_callback(ledger, attempt_id, "the body is not JSON")
    output = darkroom("show", parent).stdout
    assert max(len(line.rstrip()) for line in output.splitlines()) <= 80
    story = [line for line in output.splitlines() if ":" in line and "." in line]
    assert [word for line in story for word in ("queued", "submitting", "submitted", "callback") if f" {word} " in line]
    assert "unreadable: the body is not JSON" in output
    assert "task-9" in output


def test_a_text_is_shown_to_be_read(darkroom: Darkroom, ledger: Ledger) -> None:
    generation_id = stories.told(ledger, prompts=["a red fox, gouache", "a fox \x1b[2J"], seed="7")
    output = darkroom("show", generation_id).stdout
    assert [" ".join(line.split()) for line in output.splitlines() if line.startswith("     ")][2:] == [
        *("prompts", "1 a red fox, gouache", "2 a fox [2J"),
        *("seed", "7"),
    ]
    (shown,) = lines(darkroom("show", generation_id, "--json").stdout)
    (asset,) = shown["assets"]
    assert (asset["kind"], asset["content"]["prompts"][0]) == ("text", "a red fox, gouache")


def test_the_provider_is_listed_where_there_are_several(darkroom: Darkroom, ledger: Ledger) -> None:
    stories.queued(ledger, "an owl")
    assert "acedata" not in darkroom("list").stdout
    ledger.generations.create([NewGeneration("kie", GenerationRequest(operation=Operation.IMAGINE, prompt="a fox"))])
    assert [line.split()[1:] for line in darkroom("list").stdout.splitlines()] == [
        ["○", "queued", "kie", "a", "fox"],
        ["○", "queued", "acedata", "an", "owl"],
    ]


def test_the_results_are_shown_with_their_keys(darkroom: Darkroom, ledger: Ledger) -> None:
    generation_id = stories.archived(ledger)
    output = darkroom("show", generation_id).stdout
    assert "1024 x 768, 1.2 MB, image/png" in output
    assert f"2026/11/21/single/{generation_id}/0.png" in output
    assert "upscale1, upscale2, reroll" in output


def test_the_errors_of_earlier_attempts_are_told(darkroom: Darkroom, ledger: Ledger) -> None:
    generation_id = stories.failed(ledger)
    before = " ".join(darkroom("show", generation_id).stdout.split())
    assert before.count("is not allowed") == 1, "the heading has it already"
    ledger.generations.retry([generation_id])
    shown = " ".join(darkroom("show", generation_id).stdout.split())
    assert "attempt 1, rejected: the picture https://cdn" in shown
    assert "is not allowed" in shown
    assert stories.SIGNATURE not in shown


def test_when_its_provider_is_asked_again_is_told(darkroom: Darkroom, ledger: Ledger) -> None:
    generation_id = stories.timed_out(ledger)
    (at,) = ledger.generations.awaited([generation_id]).values()
    shown = " ".join(darkroom("show", generation_id).stdout.split())
    assert f"its provider may still deliver it, and is asked for it at {at.astimezone():%H:%M:%S}" in shown
    told = json.loads(darkroom("show", generation_id, "--json").stdout)["asked_again_at"]
    assert abs(datetime.fromisoformat(told) - at) < timedelta(milliseconds=1)
    final = stories.failed(ledger)
    assert "may still deliver" not in darkroom("show", final).stdout
    assert json.loads(darkroom("show", final, "--json").stdout)["asked_again_at"] is None
