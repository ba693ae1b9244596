"""`darkroom submit`: all or nothing, checked before it is written."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.tasks.cli import stories
from tests.tasks.cli.conftest import Darkroom
from worker.generation import Operation, State
from worker.ledger import Ledger
from worker.ledger.generations import short_id

NOT_WOKEN = (
    "saved, but the broker did not accept the wake-up: work starts when the broker is back; see `darkroom doctor`"
)


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_a_prompt_is_written_down_and_the_workers_are_woken(darkroom: Darkroom, ledger: Ledger) -> None:
    result = darkroom("submit", "a fox", "--option", "version=8.1", "--priority", "3", "--follow-up", "upscale:all")
    (generation,) = ledger.generations.page()
    assert result.exit_code == 0
    assert result.stdout == f"{generation.id}\n"
    assert generation.state is State.QUEUED
    assert generation.options == {"version": "8.1"}
    assert generation.priority == 3
    assert generation.follow_up == ("upscale:all",)
    assert generation.batch_id is None
    assert darkroom.bells == ["dispatch"]


def test_json_prints_one_object_per_generation(darkroom: Darkroom) -> None:
    result = darkroom("submit", "a fox", "an owl", "--json")
    assert [(item["prompt"], item["state"], item["id"][:4]) for item in lines(result.stdout)] == [
        ("a fox", "queued", "gen_"),
        ("an owl", "queued", "gen_"),
    ]


def test_many_prompts_are_one_batch(darkroom: Darkroom, ledger: Ledger) -> None:
    darkroom("submit", "a fox", "an owl", "--batch", "animals")
    assert len(ledger.generations.page(batch="animals")) == 2


def test_a_file_gives_its_name_to_the_batch(darkroom: Darkroom, ledger: Ledger, tmp_path: Path) -> None:
    (tmp_path / "animals.txt").write_text("a fox\n")
    darkroom("submit", "--file", "animals.txt")
    assert len(ledger.generations.page(batch="animals")) == 1


@pytest.mark.parametrize("arguments", [("-",), ("--file", "-")])
def test_prompts_come_from_standard_input(darkroom: Darkroom, ledger: Ledger, arguments: tuple[str, ...]) -> None:
    result = darkroom("submit", *arguments, "--batch", "piped", input="a fox\nan owl\n")
    assert result.exit_code == 0
    assert {one.prompt for one in ledger.generations.page(batch="piped")} == {"a fox", "an owl"}


def test_a_line_says_more_than_the_command_line(darkroom: Darkroom, ledger: Ledger) -> None:
    line = '{"prompt": "a fox", "options": {"speed": "fast"}, "follow_up": "reroll", "priority": 0}'
    darkroom(
        *(
            "submit",
            "-",
            "--option",
            "speed=relax",
            "--option",
            "hd=true",
            "--follow-up",
            "upscale1",
            "--priority",
            "9",
        ),
        input=line,
    )
    (generation,) = ledger.generations.page()
    assert generation.options == {"speed": "fast", "hd": "true"}
    assert generation.follow_up == ("reroll",)
    assert generation.priority == 0


def test_a_key_makes_a_repeated_submission_harmless(darkroom: Darkroom, ledger: Ledger) -> None:
    first = darkroom("submit", "a fox", "--key", "fox")
    again = darkroom("submit", "a fox", "--key", "fox")
    assert again.stdout == first.stdout
    (generation,) = ledger.generations.page()
    assert generation.key == "fox"


def test_a_file_is_a_batch_that_is_found_by_its_name(darkroom: Darkroom, ledger: Ledger, tmp_path: Path) -> None:
    (tmp_path / "shop.jsonl").write_text('{"prompt": "a fox", "key": "1"}\n{"prompt": "an owl"}\n')
    first = darkroom("submit", "--file", "shop.jsonl")
    (batch,) = {str(one.batch_id) for one in ledger.generations.page(batch="shop")}
    follow = "follow it with `darkroom batch watch shop`\n"
    assert first.stderr == f"2 new, 0 already in shop ({short_id(batch)})\n{follow}"
    again = darkroom("submit", "--file", "shop.jsonl")
    assert (again.exit_code, again.stdout) == (0, first.stdout)
    assert again.stderr == f"0 new, 2 already in shop ({short_id(batch)})\n"
    with (tmp_path / "shop.jsonl").open("a") as file:
        file.write('{"prompt": "a hare", "key": "3"}\n')
    more = darkroom("submit", "--file", "shop.jsonl")
    assert more.stderr == f"1 new, 2 already in shop ({short_id(batch)})\n{follow}"
    other = darkroom("submit", "--file", "shop.jsonl", "--batch", "second")
    assert other.stderr.startswith(f"the same file was submitted before as shop ({short_id(batch)}); second is another")
    assert len(ledger.generations.page(batch="second")) == 3


def test_what_is_known_already_is_counted(darkroom: Darkroom) -> None:
    assert darkroom("submit", "a toad", "--key", "4").stderr == ""
    assert darkroom("submit", "a toad", "--key", "4").stderr == "0 new, 1 already known\n"


def test_a_file_needs_no_option_to_be_completed_or_submitted_once_more(darkroom: Darkroom, tmp_path: Path) -> None:
    (tmp_path / "shop.txt").write_text("a fox\n")
    result = darkroom("submit", "--file", "shop.txt", "--new")
    assert result.exit_code == 2
    assert "a file needs neither --new nor --submission" in result.stderr


def test_a_line_that_lacks_what_others_bring_is_named(
    darkroom: Darkroom, ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KIE_API_KEY", "any")
    video = ("submit", "--provider", "kie", "--operation", "video", "--file", "films.jsonl")
    whole = '{"prompt": "a fox", "options": {"images": "https://example.com/fox.png"}}\n'
    (tmp_path / "films.jsonl").write_text(whole + '{"prompt": "an owl"}\n')
    needs = "video at Kie.ai needs the option images"
    assert f"darkroom: films.jsonl, line 2, column 1: {needs}" in darkroom(*video).stderr
    # Where none brings it, it is the command that lacks it.
    (tmp_path / "films.jsonl").write_text('{"prompt": "a fox"}\n{"prompt": "an owl"}\n')
    assert darkroom(*video).stderr == f"darkroom: {needs}\n"
    assert ledger.generations.page() == []


@pytest.mark.parametrize("prompt", ["a cat --v 9", "a cat"])
def test_a_version_that_nobody_knows_yet_is_submitted_with_a_warning(darkroom: Darkroom, prompt: str) -> None:
    options = () if "--v" in prompt else ("--option", "version=9")
    result = darkroom("submit", prompt, *options)
    assert result.exit_code == 0
    assert result.stderr.startswith(
        "warning: version 9 is newer than any known at Ace Data Cloud (the newest is 8.2): "
    )
    assert "newer" not in darkroom("submit", "a cat --v 5.1").stderr
    assert "newer" not in darkroom("submit", "a cat --niji 6").stderr


def test_a_flag_and_an_option_that_say_the_same_are_refused_whatever_they_say(
    darkroom: Darkroom, ledger: Ledger
) -> None:
    for flag, option in (("--ar 16:9", "aspect_ratio=1:1"), ("--turbo", "speed=fast"), ("--v 7", "version=7")):
        result = darkroom("submit", f"a cat {flag}", "--option", option)
        assert result.exit_code == 1
        assert "the prompt already has --" in result.stderr
    assert ledger.generations.page() == []


def test_a_key_cannot_stand_for_two_wishes(darkroom: Darkroom, ledger: Ledger) -> None:
    darkroom("submit", "a fox", "--key", "fox")
    result = darkroom("submit", "an owl", "--key", "fox")
    assert result.exit_code == 1
    assert "the key 'fox' already belongs to gen_" in result.stderr
    assert len(ledger.generations.page()) == 1


def test_a_broker_that_is_away_loses_nothing(darkroom: Darkroom, ledger: Ledger) -> None:
    darkroom.broker_is_there = False
    result = darkroom("submit", "a fox")
    assert result.exit_code == 0
    assert result.stderr == f"{NOT_WOKEN}\n"
    assert len(ledger.generations.page()) == 1


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("",), "the prompt is empty"),
        (("x" * 6001,), "the prompt has 6001 characters, but Ace Data Cloud accepts at most 6000"),
        (("a fox", " "), "prompt 2: the prompt is empty"),
        (("a fox", "--provider", "nobody"), "unknown provider 'nobody'; expected one of acedata"),
        (("a fox", "--option", "colour=red"), "Ace Data Cloud has no option 'colour'"),
        (("a fox", "--option", "speed=slow"), "option speed: invalid value 'slow'"),
        (("a fox", "--follow-up", "enlarge"), "follow-up 'enlarge': unknown action 'enlarge'"),
        (("a fox", "--follow-up", "upscale1/upscale1/reroll/reroll"), "goes 4 steps deep; at most 3 are allowed"),
        (("--parent", "gen_unknown", "--action", "upscale1"), "there is no generation 'gen_unknown'"),
    ],
)
def test_what_cannot_be_done_is_one_sentence_and_writes_nothing(
    darkroom: Darkroom, ledger: Ledger, arguments: tuple[str, ...], sentence: str
) -> None:
    result = darkroom("submit", *arguments)
    assert result.exit_code == 1
    assert result.stderr.startswith("darkroom: ")
    assert sentence in result.stderr
    assert ledger.generations.page() == []
    assert darkroom.bells == []


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((), "give a PROMPT, --file or --parent"),
        (("a fox", "--option", "hd"), "'hd' is not of the form name=value"),
        (("a fox", "--option", "=true"), "'=true' is not of the form name=value"),
        (("a fox", "--option", "hd=true", "--option", "hd=false"), "hd is given twice"),
        (("a fox", "--priority", "high"), "'high' is not a valid integer"),
        (("a fox", "--priority", "2147483648"), "is not in the range"),
        (("a fox", "an owl", "--key", "fox"), "--key names one generation"),
        (("a fox", "--key", " "), "--key is empty"),
        (("a fox", "-"), "- reads standard input and cannot be combined with other PROMPTs"),
        (("--file", "missing.txt"), "No such file or directory"),
        (("a fox", "--action", "upscale1"), "give --parent and --action together"),
        (("a fox", "an owl", "--parent", "gen_1", "--action", "upscale1"), "give at most one PROMPT"),
        (("--batch", "b", "--parent", "gen_1", "--action", "upscale1"), "a follow-up has its parent's batch"),
        (("--operation", "video", "--parent", "gen_1", "--action", "upscale1"), "its action says what it does"),
        (("a fox", "--operation", "paint"), "'paint' is not one of 'imagine'"),
        (("a fox", "--operation", "upscale"), "upscale is a follow-up: name its parent with --parent"),
    ],
)
def test_a_command_that_makes_no_sense_is_a_mistake_of_usage(
    darkroom: Darkroom, ledger: Ledger, arguments: tuple[str, ...], sentence: str
) -> None:
    result = darkroom("submit", *arguments)
    assert result.exit_code == 2
    assert sentence in " ".join(result.stderr.split())
    assert ledger.generations.page() == []


def test_a_missing_key_is_named(darkroom: Darkroom, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ACEDATACLOUD_API_TOKEN")
    result = darkroom("submit", "a fox")
    assert result.exit_code == 1
    assert "ACEDATACLOUD_API_TOKEN is not set" in result.stderr


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (
            '{"prompt": "a"}\n{"prompt": "b", "options": {"hd": 7}}',
            "bad, line 2, column 1: option hd: invalid value '7'",
        ),
        ('{"prompt": "a"}\n  {"prompt": "b", "follow_up": "grow"}', "bad, line 2, column 3: follow-up 'grow'"),
        ('{"prompt": "a"}\n{"prompt": " "}', "bad, line 2, column 1: the prompt is empty"),
        (
            '{"prompt": "a", "key": "k"}\n{"prompt": "b", "key": "k"}',
            "bad, line 2, column key: the key 'k' is already used on line 1",
        ),
        ("a fox\n" + "x" * 6001, "bad, line 2, column 1: the prompt has 6001 characters"),
        (b"a fox\n\xff\xfe", "bad, line 2, column 1: the byte 0xff is not UTF-8"),
    ],
)
def test_a_file_with_one_bad_line_writes_nothing(
    darkroom: Darkroom, ledger: Ledger, tmp_path: Path, content: str | bytes, sentence: str
) -> None:
    (tmp_path / "bad").write_bytes(content if isinstance(content, bytes) else content.encode())
    result = darkroom("submit", "--file", "bad")
    assert result.exit_code == 1
    assert sentence in result.stderr
    assert ledger.generations.page() == []


def test_a_mistake_of_the_command_line_is_not_blamed_on_the_file(darkroom: Darkroom) -> None:
    result = darkroom("submit", "-", "--option", "speed=slow", input="a fox\n")
    assert result.stderr.startswith("darkroom: option speed: invalid value 'slow'")


def test_a_follow_up_on_an_archived_generation(darkroom: Darkroom, ledger: Ledger) -> None:
    parent = stories.archived(ledger)
    result = darkroom("submit", "--parent", parent, "--action", "upscale2", "--key", "large-fox", "--json")
    (record,) = lines(result.stdout)
    (child,) = ledger.generations.get([record["id"]])
    assert (child.operation, child.action, child.parent_id, child.depth) == (Operation.UPSCALE, "upscale2", parent, 1)
    assert child.parent_handle["image_id"] == "1234"
    assert (child.prompt, child.key) == ("a fox", "large-fox")


def test_a_follow_up_that_is_not_offered_is_refused_with_those_that_are(darkroom: Darkroom, ledger: Ledger) -> None:
    parent = stories.archived(ledger)
    result = darkroom("submit", "--parent", parent, "--action", "upscale4")
    assert result.exit_code == 1
    assert f"{parent} does not offer 'upscale4', only upscale1, upscale2, reroll" in result.stderr


def test_a_follow_up_needs_a_parent_that_is_archived(darkroom: Darkroom, ledger: Ledger) -> None:
    parent = stories.submitted(ledger)
    result = darkroom("submit", "--parent", parent, "--action", "upscale1")
    assert result.exit_code == 1
    assert f"{parent} is submitted: a follow-up needs an archived parent" in result.stderr
