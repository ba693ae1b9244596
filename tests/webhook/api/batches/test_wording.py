"""What a sentence of a use case says of options is said at both doors in the words of that door."""

import ast
import re
from pathlib import Path

import pytest

import tasks.usecases
from webhook.api.app import OPERATIONS
from webhook.api.wording import COMMANDS, OPTIONS, for_programs

USECASES = Path(tasks.usecases.__file__).parent
#: what batches over HTTP may say
SAID = ("batches", "batch_file", "control.py", "entry.py", "entry_check.py", "provider_choice.py")
#: of commands that the API does not have
ELSEWHERE = ("batches/download",)


def sentences() -> list[str]:
    files = [file for name in SAID for file in USECASES.glob(name if "." in name else f"{name}/**/*.py")]
    return [
        node.value
        for file in files
        if not any(part in str(file) for part in ELSEWHERE)
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]


def test_each_option_that_a_sentence_names_is_known_to_the_api() -> None:
    named = {flag for one in sentences() for flag in re.findall(r"(?<![\w-])--[a-z][a-z-]+\b", one)}
    assert named >= {"--skip-invalid", "--max-submissions", "--may-pay-twice"}
    assert named <= set(OPTIONS)


def test_each_option_is_a_parameter_or_a_field_of_some_request() -> None:
    models = [model for one in OPERATIONS for model in (one.query, one.body) if model is not None]
    fields = {name for model in models for name in model.model_fields}
    assert {option.removeprefix("--").replace("-", "_") for option in OPTIONS} <= fields


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("above the limit of 9 (--max-submissions): raise it", "above the limit of 9 (`max_submissions`): raise it"),
        ("not applied: --max-cost 3", "not applied: `max_cost` 3"),
        (
            "give a template such as --template 'a photo of {name}'",
            "give a template such as `template` 'a photo of {name}'",
        ),
        # Flags of prompts, and words that only begin so.
        ("the prompt has --ar twice, and --names", "the prompt has --ar twice, and --names"),
        (
            "there is no batch 'x'; `darkroom batch list` shows all",
            "there is no batch 'x'; `GET /v1/batches` shows all",
        ),
    ],
)
def test_a_sentence_says_it_in_the_words_of_the_api(said: str, told: str) -> None:
    assert for_programs(said) == told


def test_a_command_is_a_request_that_exists() -> None:
    paths = {f"`{one.method} {one.path}`" for one in OPERATIONS}
    assert {request for request in COMMANDS.values() if request.startswith("`GET")} <= paths | {"`GET /v1/generations`"}
