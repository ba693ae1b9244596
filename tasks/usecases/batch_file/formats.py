"""Determines the format of a batch file from its name and content together."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import PurePath

from tasks.usecases.batch_file.fault import refuse
from tasks.usecases.batch_file.lines import first_lines
from tasks.usecases.batch_file.misfits import (
    ADVICE,
    OBJECT,
    OTHER_KINDS,
    Line,
    begins_table,
    is_array,
    misfit_of_text,
    object_on_lines,
)
from tasks.usecases.batch_file.spool import Spool
from worker.errors import RequestInvalid


class Format(StrEnum):
    CSV = "csv"
    XLSX = "xlsx"
    JSON_LINES = "jsonl"
    JSON = "json"
    TEXT = "txt"


_FORMATS: Mapping[str, Format] = {
    **dict.fromkeys(("csv", "tsv", "tab"), Format.CSV),
    **dict.fromkeys(("xlsx", "xlsm"), Format.XLSX),
    **dict.fromkeys(("jsonl", "ndjson"), Format.JSON_LINES),
    "json": Format.JSON,
    **dict.fromkeys(("txt", "text"), Format.TEXT),
}
#: how an HTTP caller names the format
MEDIA_TYPES: Mapping[str, Format] = {
    "text/csv": Format.CSV,
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": Format.XLSX,
    "application/jsonl": Format.JSON_LINES,
    "application/x-ndjson": Format.JSON_LINES,
    "text/plain": Format.TEXT,
}
_TITLES = {
    Format.CSV: "a table",
    Format.XLSX: "a spreadsheet",
    Format.JSON_LINES: "JSON lines",
    Format.JSON: "a JSON array",
    Format.TEXT: "plain text",
}


def format_of(spool: Spool, media_type: str | None = None) -> Format:
    """Return the format. Raises RequestInvalid if the file is not a batch file, or not the kind that its name says.

    `media_type`: declares the format instead of the name.
    """
    if media_type is not None:
        return _declared(spool, media_type)
    suffix = PurePath(spool.name).suffix.lower().removeprefix(".")
    named = _FORMATS.get(suffix)
    if spool.is_zip:
        if named not in {None, Format.XLSX} or suffix in OTHER_KINDS:
            refuse(spool.name, 1, 1, f"the name ends in .{suffix}, but this is a ZIP file, like a spreadsheet (.xlsx)")
        return Format.XLSX
    lines = first_lines(spool)
    if not lines:
        raise RequestInvalid(f"{spool.name} is empty: {ADVICE}")
    content = _content(lines)
    if what := _contradiction(suffix, named, content, lines):
        refuse(spool.name, lines[0].number, lines[0].start, what)
    found = named or content or Format.TEXT
    _refuse_misfit(spool, found, lines)
    return found


def _declared(spool: Spool, media_type: str) -> Format:
    declared = MEDIA_TYPES[media_type]
    lines = [] if spool.is_zip else first_lines(spool)
    if not lines and not spool.is_zip:
        raise RequestInvalid(f"{spool.name} is empty: {ADVICE}")
    content = Format.XLSX if spool.is_zip else _content(lines)
    if content not in {None, declared} or (declared is Format.XLSX and not spool.is_zip):
        what = f"this is {_TITLES[content]}" if content else f"this is not {_TITLES[declared]}"
        proper = next((name for name, one in MEDIA_TYPES.items() if one is content), None)
        advice = f"send it as {proper}" if proper else f"send {_TITLES[declared]}"
        line, column = (lines[0].number, lines[0].start) if lines else (1, 1)
        refuse(spool.name, line, column, f"the content type is {media_type}, but {what}: {advice}")
    _refuse_misfit(spool, declared, lines)
    return declared


def _refuse_misfit(spool: Spool, found: Format, lines: Sequence[Line]) -> None:
    misfit = None
    if found is Format.TEXT:
        misfit = misfit_of_text(lines)
    elif found is Format.JSON_LINES:
        misfit = object_on_lines(lines)
    if misfit is not None:
        refuse(spool.name, misfit.line, misfit.column, misfit.what)


def _contradiction(suffix: str, named: Format | None, content: Format | None, lines: Sequence[Line]) -> str | None:
    """Return what is wrong with the name, given this content."""
    if suffix in OTHER_KINDS:
        return f"a .{suffix} file is {OTHER_KINDS[suffix]}: {ADVICE}"
    if named is Format.JSON and content is Format.JSON_LINES and object_on_lines(lines):
        return "this is a single object: put it in an array, as in [ … ]"
    if named is Format.XLSX:
        return f"the name ends in .{suffix}, but this is not a spreadsheet: save it again, or rename it"
    if content is not None and named not in {None, content}:
        return f"the name ends in .{suffix}, but this is {_TITLES[content]}: rename it to .{content}"
    if named is Format.JSON and not lines[0].text.lstrip().startswith("["):
        return 'expected a JSON array such as [{"prompt": "a lighthouse"}]'
    return None


def _content(lines: Sequence[Line]) -> Format | None:
    """Return the format that the first lines show; None if they could be anything."""
    if is_array(lines):
        return Format.JSON
    if OBJECT.match(lines[0].text) or lines[0].text.strip() == "{":
        return Format.JSON_LINES
    return Format.CSV if begins_table(lines) else None
