"""`darkroom list` and `darkroom show`: the same facts for people and for programs, and never a secret."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from rich.console import Console

from tasks.cli.ui import generation_table
from tests.tasks.cli import stories
from tests.tasks.cli.conftest import Darkroom
from worker.errors import CallbackUnreadable, Rejected
from worker.generation import Accepted, GenerationRequest, Operation
from worker.ledger import Ledger
from worker.ledger.dispatch import Limits
from worker.ledger.generations import NewGeneration, short_id
from worker.ledger.outcome import Delivery, News
from worker.pricing.prices import Prices, Rule

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
    assert (empty.exit_code, empty.stdout, empty.stderr) == (0, "", "No matching generations.\n")


@pytest.mark.parametrize(
    ("arguments", "exit_code", "sentence"),
    [
        (("list", "--limit", "-1"), 2, "-1 is not in the range x>=1"),
        (("list", "--limit", "0"), 2, "0 is not in the range x>=1"),
        (("list", "--state", "lost"), 2, "'lost' is not one of 'queued'"),
        (("list", "--batch", "unknown"), 1, "there is no batch 'unknown'"),
        (("show", "gen_unknown"), 1, "there is no generation 'gen_unknown'"),
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
    assert asset["object_key"] == f"2026/11/21/single/{generation_id}/0.png"
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
    ledger.callbacks.store(
        [
            Delivery(
                attempt_id=attempt_id,
                provider="acedata",
                received_at=datetime.now(UTC),
                remote_address="192.0.2.1",
                headers={},
                body=body,
                digest="00" * 32,
            )
        ]
    )
    (stored,) = ledger.callbacks.claim(1, stories.MINUTE)
    ledger.generations.apply_outcomes(
        [News(attempt_id=attempt_id, outcome=CallbackUnreadable(error), cause="callback", callback_id=stored.id)]
    )


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
    ledger.generations.create(
        [NewGeneration(provider="kie", request=GenerationRequest(operation=Operation.IMAGINE, prompt="a fox"))]
    )
    assert [line.split("\t")[1:4] for line in darkroom("list").stdout.splitlines()] == [
        ["queued", "kie", "a fox"],
        ["queued", "acedata", "an owl"],
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
    assert f"the provider may still deliver it; the next check is at {at.astimezone():%H:%M:%S}" in shown
    told = json.loads(darkroom("show", generation_id, "--json").stdout)["asked_again_at"]
    assert abs(datetime.fromisoformat(told) - at) < timedelta(milliseconds=1)
    final = stories.failed(ledger)
    assert "may still deliver" not in darkroom("show", final).stdout
    assert json.loads(darkroom("show", final, "--json").stdout)["asked_again_at"] is None


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a terminal of 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(generation_table, "console", lambda: Console(width=80, force_terminal=True, color_system=None))


def test_a_list_fits_80_columns_with_key_reason_batch_and_age(
    darkroom: Darkroom, ledger: Ledger, terminal: None
) -> None:
    failed = stories.failed(ledger, batch="shop")
    batch_id = ledger.generations.newest_batch("shop")
    (keyed,) = stories.queued(ledger, "a lighthouse in the fog " * 5, key="B-0042", batch_id=batch_id)
    request = GenerationRequest(operation=Operation.UPSCALE, prompt="", action="upscale2")
    wanted = NewGeneration(provider="acedata", request=request, parent_id=keyed.id, depth=1, batch_id=batch_id)
    (child,) = ledger.generations.create([wanted])
    upscale, parent, first = (" ".join(line.split()) for line in darkroom("list").stdout.splitlines())
    assert upscale == f"{short_id(child.id)} ○ queued B-0042 upscale2 no worker shop 0 s"
    assert parent == f"{short_id(keyed.id)} ○ queued B-0042 no worker shop 0 s"
    assert first == f"{short_id(failed)} ✗ failed a fox forbidden shop 0 s"
    ledger.maintenance.beat("worker@here", 1)
    lines = darkroom("list").stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert " B-0042 · a lighthouse in the fog" in lines[1]


def test_a_list_says_when_there_is_more(darkroom: Darkroom, ledger: Ledger) -> None:
    stories.queued(ledger, *(f"fox {number}" for number in range(5)), batch="shop")
    result = darkroom("list", "--limit", "2", "--batch", "shop")
    assert len(result.stdout.splitlines()) == 2
    assert "2 of 5 shown: --all or --limit N\n" in result.stderr
    for more in (("--search", "FOX"), ("--provider", "acedata")):
        assert "2 shown; there are more: --all or --limit N\n" in darkroom("list", "--limit", "2", *more).stderr
    whole = darkroom("list", "--all")
    assert (len(whole.stdout.splitlines()), "shown" in whole.stderr) == (5, False)
    assert "shown" not in darkroom("list", "--limit", "5").stderr


def test_a_list_is_narrowed_by_key_and_by_words_of_the_prompt(darkroom: Darkroom, ledger: Ledger) -> None:
    (fox,) = stories.queued(ledger, "a red Fox", key="B-1")
    (owl,) = stories.queued(ledger, "an owl", key="F-1")
    for arguments, found in ((("--key", "B-*"), fox), (("--key", "F-1"), owl), (("--search", "red fox"), fox)):
        assert [line["id"] for line in lines(darkroom("list", *arguments, "--json").stdout)] == [found.id]
    assert darkroom("list", "--key", "b-*").stderr == "No matching generations.\n"


def test_batches_of_one_name_are_told_apart_in_a_list(darkroom: Darkroom, ledger: Ledger, terminal: None) -> None:
    first, second = (stories.queued(ledger, batch="shop")[0].batch_id for _ in range(2))
    result = darkroom("list", "--batch", "shop")
    newest, oldest = result.stdout.splitlines()
    assert short_id(str(second)) in newest
    assert short_id(str(first)) in oldest
    told = f"2 batches match: shop {short_id(str(second))}, shop {short_id(str(first))}\n"
    assert told in result.stderr
    assert len(darkroom("list", "--batch", short_id(str(first))).stdout.splitlines()) == 1


def test_a_pipe_gets_whole_fields(darkroom: Darkroom, ledger: Ledger) -> None:
    (one,) = stories.queued(ledger, "a lighthouse " * 20, key="B-1", batch="shop")
    fields = darkroom("list").stdout.rstrip("\n").split("\t")
    assert fields[:3] == [one.id, "queued", "acedata"]
    assert fields[3] == f"B-1 · {'a lighthouse ' * 20}"
    assert fields[4:6] == ["shop", "no worker"]
    assert datetime.fromisoformat(fields[6]).tzinfo


def test_an_error_is_shown_once_and_a_link_stays_whole(darkroom: Darkroom, ledger: Ledger) -> None:
    generation_id = stories.expired(ledger)
    shown = darkroom("show", generation_id).stdout
    assert shown.count("answers with status 404") == 1
    link = "https://cdn.example.com/" + "a" * 120
    generation_id, _ = stories.answered(ledger, Rejected(f"the picture {link} is too large", code="large"))
    assert link in darkroom("show", generation_id).stdout


def test_follow_ups_are_shown_with_action_and_state(darkroom: Darkroom, ledger: Ledger) -> None:
    parent = stories.archived(ledger)
    request = GenerationRequest(operation=Operation.UPSCALE, prompt="", action="upscale2")
    (child,) = ledger.generations.create(
        [NewGeneration(provider="acedata", request=request, parent_id=parent, depth=1)]
    )
    assert f"upscale2 ○ queued {child.id}" in " ".join(darkroom("show", parent).stdout.split())
    assert lines(darkroom("show", parent, "--json").stdout)[0]["children"] == [
        {"id": child.id, "action": "upscale2", "state": "queued"}
    ]


def test_the_cost_is_shown(darkroom: Darkroom, ledger: Ledger) -> None:
    stories.queued(ledger)
    ledger.dispatch.run("acedata", Limits(1000, 1000), Prices(rules=(Rule(price=50_000),)))
    (claim,) = ledger.submissions.claim(1, stories.MINUTE)
    assert "  cost      0.05 reserved\n" in darkroom("show", claim.generation.id).stdout
    (shown,) = lines(darkroom("show", claim.generation.id, "--json").stdout)
    assert shown["charges"] == [{"attempt": 1, "amount": "0.05", "state": "reserved"}]
