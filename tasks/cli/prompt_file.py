"""A file of prompts: one per line, or one JSON object per line. A mistake is told with file, line and column."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from tasks.cli.options import FIRST
from worker.errors import RequestInvalid
from worker.generation import Operation


@dataclass(frozen=True, slots=True)
class Entry:
    """One wish; `where` it stands is for whoever finds a mistake in it. None: not said, so the default holds."""

    where: str
    prompt: str
    key: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    follow_up: str | None = None
    priority: int | None = None
    provider: str | None = None
    operation: Operation | None = None


# A prompt may begin with a brace as well: Midjourney reads {red, blue} as two prompts.
_JSON_LINES = re.compile(r"\s*\{\s*\"")
#: the largest that every database keeps
_PRIORITIES = range(-(2**31), 2**31)


def read_entries(name: str, raw: bytes) -> list[Entry]:
    """The wishes of a file; raises RequestInvalid for the first line that cannot be understood."""
    lines = _decode(name, raw).split("\n")
    # Not splitlines(): JSON text may hold separators of other kinds unescaped.
    numbered = [(number, line.rstrip("\r")) for number, line in enumerate(lines, start=1) if line.strip()]
    if not numbered:
        raise RequestInvalid(f"{name} holds no prompt")
    if name.endswith((".jsonl", ".ndjson")) or _JSON_LINES.match(numbered[0][1]):
        return [_read_object(name, number, line) for number, line in numbered]
    return [Entry(f"{name}, line {number}, column 1", line.strip()) for number, line in numbered]


def _decode(name: str, raw: bytes) -> str:
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = raw[: error.start].decode("utf-8-sig", "replace")
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        _fail(name, line, column, f"the byte 0x{raw[error.start]:02x} is not UTF-8; save the file as UTF-8")


def _read_object(name: str, number: int, line: str) -> Entry:
    try:
        value = json.loads(line)
    except json.JSONDecodeError as error:
        _fail(name, number, error.colno, f"this is not JSON: {error.msg}")
    except (ValueError, RecursionError):
        _fail(name, number, 1, "this JSON holds a number too long or brackets too deep to be read")
    start = len(line) - len(line.lstrip()) + 1
    if not isinstance(value, dict):
        _fail(name, number, start, 'expected an object such as {"prompt": "a lighthouse"}')
    for field_name, content in value.items():
        if field_name not in _FIELDS:
            _fail(name, number, _column(line, field_name), f"there is no field {field_name!r}; {_KNOWN}")
        expected, fits = _FIELDS[field_name]
        if not fits(content):
            _fail(name, number, _column(line, field_name), f'"{field_name}" must be {expected}')
    follow_up = value.get("follow_up")
    return Entry(
        f"{name}, line {number}, column {start}",
        value.get("prompt", "").strip(),
        value.get("key"),
        value.get("options", {}),
        ",".join(follow_up) if isinstance(follow_up, list) else follow_up,
        value.get("priority"),
        value.get("provider"),
        Operation(value["operation"]) if "operation" in value else None,
    )


def _is_priority(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value in _PRIORITIES


def _is_follow_up(value: Any) -> bool:
    return isinstance(value, str) or (isinstance(value, list) and all(isinstance(item, str) for item in value))


_FIELDS: Mapping[str, tuple[str, Callable[[Any], bool]]] = {
    "prompt": ("text", lambda value: isinstance(value, str)),
    "key": ("text that is not empty", lambda value: isinstance(value, str) and value.strip() != ""),
    "options": ("an object", lambda value: isinstance(value, dict)),
    "follow_up": ('text such as "upscale1,upscale3" or a list of such texts', _is_follow_up),
    "priority": ("a whole number", _is_priority),
    "provider": ("text", lambda value: isinstance(value, str)),
    "operation": (f"one of {', '.join(FIRST)}", lambda value: value in FIRST),
}
_KNOWN = f"there are {', '.join(_FIELDS)}"


def _column(line: str, field_name: str) -> int:
    """Where the field stands; a name that is written with escapes is not found and counts as the line's beginning."""
    return max(line.find(json.dumps(field_name, ensure_ascii=False)), 0) + 1


def _fail(name: str, line: int, column: int, what: str) -> NoReturn:
    raise RequestInvalid(f"{name}, line {line}, column {column}: {what}")
