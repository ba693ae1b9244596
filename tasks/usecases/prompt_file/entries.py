"""Reads prompt files: one prompt, or one JSON object, per line. Errors name file, line and column."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import BinaryIO, NoReturn

from tasks.usecases.entry import FIRST, PRIORITIES, Entry, Place
from tasks.usecases.prompt_file.file_format import (
    LARGEST,
    Line,
    Misfit,
    has_json_lines,
    misfit_of_bytes,
    misfit_of_json_lines,
    misfit_of_text,
)
from worker.errors import RequestInvalid
from worker.generation import Operation

_LINE_END = re.compile(r"\r\n|\r|\n")


def read_file(name: str, file: BinaryIO) -> list[Entry]:
    """Read like `read_entries`, but stop an endless stream at the largest allowed size."""
    # One byte more, to detect a file that is too long.
    return read_entries(name, file.read(LARGEST + 1))


def read_entries(name: str, raw: bytes) -> list[Entry]:
    """Return the entries of a file; raises RequestInvalid for the first invalid line."""
    _refuse(name, misfit_of_bytes(raw))
    # Not splitlines(): JSON strings may contain other line separators unescaped.
    numbered = enumerate(_LINE_END.split(_decode(name, raw)), start=1)
    lines = [Line(number, text) for number, text in numbered if text.strip()]
    if not lines:
        raise RequestInvalid(f"{name} contains no prompts")
    if has_json_lines(name, lines):
        _refuse(name, misfit_of_json_lines(lines))
        return [_read_object(name, line.number, line.text) for line in lines]
    _refuse(name, misfit_of_text(name, lines))
    return [_read_prompt(name, line) for line in lines]


def _refuse(name: str, misfit: Misfit | None) -> None:
    if misfit is not None:
        _fail(name, misfit.line, misfit.column, misfit.what)


def _decode(name: str, raw: bytes) -> str:
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = raw[: error.start].decode("utf-8-sig", "replace")
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        _fail(name, line, column, f"the byte 0x{raw[error.start]:02x} is not UTF-8; save the file as UTF-8")


def _read_prompt(name: str, line: Line) -> Entry:
    def locate(at: int) -> Place:
        return Place(name, line.number, line.start + at)

    return Entry(place=Place(name, line.number, 1), prompt=line.text.strip(), locate=locate)


class _Twice(Exception):
    """A duplicate name in an object; JSON itself would silently keep the last value."""


def _distinct(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found: dict[str, object] = {}
    for name, value in pairs:
        if name in found:
            raise _Twice(name)
        found[name] = value
    return found


def _read_object(name: str, number: int, line: str) -> Entry:
    try:
        value = json.loads(line, object_pairs_hook=_distinct)
    except _Twice as twice:
        at = line.rfind(json.dumps(str(twice), ensure_ascii=False))
        _fail(name, number, max(at, 0) + 1, f"duplicate field {str(twice)!r}: keep one")
    except json.JSONDecodeError as error:
        _fail(name, number, error.colno, f"invalid JSON: {error.msg}")
    except (ValueError, RecursionError):
        _fail(name, number, 1, "this JSON has a number that is too long or brackets nested too deeply")
    start = len(line) - len(line.lstrip()) + 1
    if not isinstance(value, dict):
        _fail(name, number, start, 'expected an object such as {"prompt": "a lighthouse"}')
    for field_name, content in value.items():
        if field_name not in _FIELDS:
            _fail(name, number, _begins(line, field_name)[0] + 1, f"unknown field {field_name!r}; {_KNOWN}")
        expected, fits = _FIELDS[field_name]
        if not fits(content):
            _fail(name, number, _begins(line, field_name)[0] + 1, f'"{field_name}" must be {expected}')
    follow_up = value.get("follow_up")
    prompt = value.get("prompt", "")

    def locate(at: int) -> Place:
        signs = len(prompt) - len(prompt.lstrip()) + at
        return Place(name, number, _column(line, _begins(line, "prompt")[1], signs))

    return Entry(
        place=Place(name, number, start),
        prompt=prompt.strip(),
        key=value.get("key"),
        options=value.get("options", {}),
        follow_up=",".join(follow_up) if isinstance(follow_up, list) else follow_up,
        priority=value.get("priority"),
        provider=value.get("provider"),
        operation=Operation(value["operation"]) if "operation" in value else None,
        locate=locate,
    )


def _begins(line: str, field_name: str) -> tuple[int, int]:
    """Return where the name and its value begin; for a duplicate name, the last one."""
    return dict(_members(line))[field_name]


def _members(line: str) -> Iterator[tuple[str, tuple[int, int]]]:
    """Yield each name of a valid object, and where it and its value begin."""
    at = _end(_BLANK, line, line.index("{") + 1)
    while line[at] == '"':
        name, end = _DECODER.raw_decode(line, at)
        value_at = _end(_COLON, line, end)
        yield name, (at, value_at)
        _, end = _DECODER.raw_decode(line, value_at)
        at = _end(_COMMA, line, end)


def _column(line: str, begin: int, signs: int) -> int:
    """Return the column of a character of the JSON string that begins with the quote at `begin`."""
    at = begin + 1
    for _ in range(signs):
        at = _end(_SIGN, line, at)
    return at + 1


def _end(pattern: re.Pattern[str], line: str, at: int) -> int:
    found = pattern.match(line, at)
    return found.end() if found else at


_DECODER = json.JSONDecoder()
_BLANK, _COLON, _COMMA = (re.compile(rf"\s*{sign}\s*") for sign in ("", ":", ",?"))
#: one character in a JSON string
_SIGN = re.compile(r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u[0-9a-fA-F]{4}|\\.|.", re.DOTALL)


def _is_priority(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value in PRIORITIES


def _is_follow_up(value: object) -> bool:
    return isinstance(value, str) or (isinstance(value, list) and all(isinstance(item, str) for item in value))


_FIELDS: Mapping[str, tuple[str, Callable[[object], bool]]] = {
    "prompt": ("text", lambda value: isinstance(value, str)),
    "key": ("a non-empty string", lambda value: isinstance(value, str) and value.strip() != ""),
    "options": ("an object", lambda value: isinstance(value, dict)),
    "follow_up": ('text such as "upscale1,upscale3" or a list of such texts', _is_follow_up),
    "priority": ("a whole number", _is_priority),
    "provider": ("text", lambda value: isinstance(value, str)),
    "operation": (f"one of {', '.join(FIRST)}", lambda value: value in FIRST),
}
_KNOWN = f"known fields are {', '.join(_FIELDS)}"


def _fail(name: str, line: int, column: int, what: str) -> NoReturn:
    raise RequestInvalid(f"{Place(name, line, column)}: {what}")
