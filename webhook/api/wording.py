"""Translates options and commands in use cases' sentences from the command line's words to the API's."""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

#: options that the API has under the same name, with underscores
OPTIONS = (
    *("--dry-run", "--expand-limit", "--follow-up", "--format", "--label", "--max-cost", "--max-in-flight"),
    *(
        "--max-submissions",
        "--may-pay-twice",
        "--name",
        "--new-version",
        "--option",
        "--priority",
        "--provider",
        "--recipe",
    ),
    *("--notify", "--sheet", "--skip-invalid", "--start-at", "--template"),
)
#: command → the request that does the same
COMMANDS = {
    "`darkroom batch check`": "`dry_run`",
    "`darkroom batch list`": "`GET /v1/batches`",
    "`darkroom list`": "`GET /v1/generations`",
    "`darkroom providers`": "`GET /v1/providers`",
    "its id, a part of its id, or the short id that `darkroom list` shows": "its id, or a part of its id",
}
#: with the name of a batch
_STEERED = re.compile(r"`darkroom batch (pause|resume|cancel) ([^\s`]+)`")
_OPTION = re.compile(rf"(?<![\w-])(?:{'|'.join(OPTIONS)})(?![\w-])")
_COMMAND = re.compile("|".join(map(re.escape, sorted(COMMANDS, key=len, reverse=True))))
#: parts of documents that have a remedy, or contain parts with one
_WITH_REMEDY = ("data", "failure", "waits_for")


def for_programs(sentence: str) -> str:
    """Return the sentence with the API's names."""
    named = _COMMAND.sub(lambda found: COMMANDS[found[0]], sentence)
    named = _STEERED.sub(lambda found: f"`POST /v1/batches/{quote(found[2])}/{found[1]}`", named)
    return _OPTION.sub(lambda found: f"`{found[0].removeprefix('--').replace('-', '_')}`", named)


def with_remedies(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the document with its remedies in the API's words."""
    return {name: _part(name, value) for name, value in document.items()}


def _part(name: str, value: Any) -> Any:
    if name == "remedy" and isinstance(value, str):
        return for_programs(value)
    if name not in _WITH_REMEDY:
        return value
    if isinstance(value, list):
        return [with_remedies(one) if isinstance(one, Mapping) else one for one in value]
    return with_remedies(value) if isinstance(value, Mapping) else value
