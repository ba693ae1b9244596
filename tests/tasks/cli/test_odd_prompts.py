"""What looks odd in a prompt is said with its place, and taken all the same."""

# ruff: noqa: RUF001  the dashes are what is tested
import json

import pytest

from tasks.usecases.prompt_file import oddities_of, read_entries
from tests.tasks.cli.conftest import Darkroom
from worker.ledger import Ledger


def odd(prompt: str) -> tuple[str, ...]:
    (entry,) = read_entries("p.txt", prompt.encode())
    return oddities_of([entry])[0]


@pytest.mark.parametrize(
    ("prompt", "column", "what"),
    [
        ("/imagine prompt: a fox", 1, "'/imagine prompt:' is Discord's command"),
        ("/imagine a fox", 1, "'/imagine' is Discord's command"),
        ("prompt: a fox", 1, "'prompt:' is Discord's command"),
        ("a fox –ar 3:2", 7, "'–ar' begins with a long dash"),
        ("a fox —ar 3:2", 7, "'—ar' begins with a long dash"),
        ("a fox −v 7", 7, "'−v' begins with a long dash"),
        ("a fox -ar 3:2", 7, "'-ar' begins with a single dash"),
        ("a fox -- ar 3:2", 7, "'-- ar' has a blank behind its dashes"),
        ("a fox --ar=3:2", 7, "'--ar=3:2' has no blank before its value"),
        ("a fox --v7", 7, "'--v7' has no blank before its value"),
        ("a fox\u00a0--ar 3:2", 6, "beside '--ar' is a no-break space"),
        ("a fox --ar\u00a03:2", 7, "beside '--ar' is a no-break space"),
        ("a fox --ar\u200b 3:2", 7, "beside '--ar\\u200b' is a no-break space"),
        ("a fox --foo", 7, "Midjourney's list of parameters has no --foo"),
        ("a fox --ar 3:2 --aspect 1:1", 16, "--aspect 1:1 stands beside --ar 3:2: keep one"),
        ("1. a fox", 1, "'1.' looks like the beginning of a list's item"),
        ('"a fox"', 1, "the quotes around it"),
        ("**a fox --v 7** - @me (fast)", 1, "a message of Discord's bot"),
        ("a \u202efox", 3, "a sign that turns the direction"),
        ("a f\ufffdx", 4, "a sign that stands for a damaged one"),
    ],
)
def test_an_odd_prompt_is_told_with_its_place(prompt: str, column: int, what: str) -> None:
    (said, *_) = odd(prompt)
    assert said.startswith(f"p.txt, line 1, column {column}: ")
    assert what in said


@pytest.mark.parametrize(
    "prompt",
    ["a fox --ar 16:9 --v 7 --no text,,fog --tile --sref 123", "black-and-white - a fox", "a fox – quick – and an owl",
     "a fox\t--ar 3:2", "the -v of a shape"],
)  # fmt: skip
def test_an_ordinary_prompt_is_not_odd(prompt: str) -> None:
    assert odd(prompt) == ()


def test_a_place_in_json_is_the_one_that_the_file_has() -> None:
    """Whatever escapes stand before it."""
    line = r'{"key": "prompt", "prompt": " \u00e9\ud83e\udd8a\" \n --ar=3:2"}'
    (entry,) = read_entries("p.jsonl", line.encode())
    (said,) = oddities_of([entry])[0]
    assert said.startswith(f"p.jsonl, line 1, column {line.index('--ar') + 1}: ")


def test_warnings_are_told_to_people_and_to_programs(darkroom: Darkroom, ledger: Ledger) -> None:
    result = darkroom("submit", "-", "--json", input="a fox\n" + "an owl --ar=3:2\n" * 12)
    records = [json.loads(line) for line in result.stdout.splitlines()]
    assert result.exit_code == 0
    assert [len(record["warnings"]) for record in records] == [0] + [1] * 12
    assert result.stderr.count("warning: standard input, line ") == 10
    assert "warning: 2 more of such" in result.stderr
    assert len(ledger.queries.page()) == 13


@pytest.mark.parametrize(
    ("prompts", "options", "sentence"),
    [
        ("a\na fox --v 9", ("--provider", "kie"), "line 2, column 7: option version: '9' is not possible"),
        ("a fox --q 4", ("--provider", "kie"), "line 1, column 7: Kie.ai has no option 'quality' for imagine"),
        ("a fox --hd", ("--provider", "kie"), "line 1, column 7: Kie.ai has no option 'hd' for imagine"),
        ("a fox --ar wide", (), "line 1, column 7: option aspect_ratio: 'wide' is not possible"),
        ("a fox --ar 16:9", ("--option", "aspect_ratio=1:1"), "line 1, column 7: option aspect_ratio: the prompt says"),
        ("a fox –ar 3:2", ("--option", "aspect_ratio=1:1"), "line 1, column 7: option aspect_ratio: the prompt says"),
        ("a fox --ar=3:2", ("--option", "aspect_ratio=1:1"), "line 1, column 7: option aspect_ratio: the prompt says"),
        (
            "a fox --turbo",
            ("--option", "speed=fast"),
            "line 1, column 7: option speed: the prompt says --turbo already",
        ),
        ('{"prompt": "a --s 2000"}', (), "line 1, column 15: option stylize: '2000' is not possible"),
    ],
)
def test_a_parameter_in_a_prompt_is_held_against_the_table_and_the_options(
    darkroom: Darkroom, ledger: Ledger, monkeypatch: pytest.MonkeyPatch, prompts: str, options: tuple[str, ...],
    sentence: str,
) -> None:  # fmt: skip
    monkeypatch.setenv("KIE_API_KEY", "a-key-of-the-tests")
    result = darkroom("submit", "-", *options, input=prompts)
    assert result.exit_code == 1
    assert f"standard input, {sentence}" in result.stderr
    assert ledger.queries.page() == []


def test_one_prompt_has_a_column_too(darkroom: Darkroom) -> None:
    assert "the prompt, column 7: option aspect_ratio" in darkroom("submit", "a fox --ar wide").stderr
    assert "prompt 2, column 7: option aspect_ratio" in darkroom("submit", "a", "a fox --ar wide").stderr


def test_json_never_repaints_a_terminal(darkroom: Darkroom) -> None:
    prompt = "a \x9b31m \u202efox\u2066 é 狐 \U000e0041"
    (line,) = darkroom("submit", prompt, "--json").stdout.splitlines()
    assert line.isprintable()
    assert "é 狐" in line
    assert json.loads(line)["prompt"] == prompt
