"""What `darkroom submit` says of odd prompts, and of parameters that it refuses."""

# ruff: noqa: RUF001  the dashes are what is tested
import json

import pytest

from tests.tasks.cli.conftest import Darkroom
from worker.ledger import Ledger


def test_warnings_are_told_to_people_and_to_programs(darkroom: Darkroom, ledger: Ledger) -> None:
    result = darkroom("submit", "-", "--json", input="a fox\n" + "an owl --ar=3:2\n" * 12)
    records = [json.loads(line) for line in result.stdout.splitlines()]
    assert result.exit_code == 0
    assert [len(record["warnings"]) for record in records] == [0] + [1] * 12
    assert result.stderr.count("warning: standard input, line ") == 10
    assert "2 more warnings (--json shows all of them)" in result.stderr
    assert len(ledger.generations.page()) == 13


@pytest.mark.parametrize(
    ("prompts", "options", "sentence"),
    [
        ("a\na fox --v 9", ("--provider", "kie"), "line 2, column 7: option version: invalid value '9'"),
        ("a fox --q 4", ("--provider", "kie"), "line 1, column 7: Kie.ai has no option 'quality' for imagine"),
        ("a fox --hd", ("--provider", "kie"), "line 1, column 7: Kie.ai has no option 'hd' for imagine"),
        ("a fox --ar wide", (), "line 1, column 7: option aspect_ratio: invalid value 'wide'"),
        (
            "a fox --ar 16:9",
            ("--option", "aspect_ratio=1:1"),
            "line 1, column 7: option aspect_ratio: the prompt already has",
        ),
        (
            "a fox –ar 3:2",
            ("--option", "aspect_ratio=1:1"),
            "line 1, column 7: option aspect_ratio: the prompt already has",
        ),
        (
            "a fox --ar=3:2",
            ("--option", "aspect_ratio=1:1"),
            "line 1, column 7: option aspect_ratio: the prompt already has",
        ),
        (
            "a fox --turbo",
            ("--option", "speed=fast"),
            "line 1, column 7: option speed: the prompt already has --turbo",
        ),
        ('{"prompt": "a --s 2000"}', (), "line 1, column prompt: option stylize: invalid value '2000'"),
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
    assert ledger.generations.page() == []


def test_one_prompt_has_a_column_too(darkroom: Darkroom) -> None:
    assert "the prompt, column 7: option aspect_ratio" in darkroom("submit", "a fox --ar wide").stderr
    assert "prompt 2, column 7: option aspect_ratio" in darkroom("submit", "a", "a fox --ar wide").stderr


def test_json_never_repaints_a_terminal(darkroom: Darkroom) -> None:
    prompt = "a \x9b31m \u202efox\u2066 é 狐 \U000e0041"
    (line,) = darkroom("submit", prompt, "--json").stdout.splitlines()
    assert line.isprintable()
    assert "é 狐" in line
    assert json.loads(line)["prompt"] == prompt
