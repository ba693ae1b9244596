"""The user's own failing rows, with what is wrong with each: a file to correct and submit again."""

import json
import re
from collections.abc import Mapping
from tempfile import TemporaryFile
from typing import IO, Any, Self

from tasks.usecases.batch_file import CHOICE
from tasks.usecases.batches.results.tables import Cell, as_cell, guarded
from tasks.usecases.batches.results.writers import CsvTable, Format, JsonLines, TableWriter, XlsxTable
from tasks.usecases.row_versions import base_of
from worker.errors import RequestInvalid
from worker.generation import State
from worker.ledger.generations import BatchResult

#: the formats that `batch submit` reads
FORMATS = (Format.CSV, Format.JSONL, Format.XLSX)
_FAILING = (State.FAILED, State.EXPIRED)
#: columns before and after the options
_FIRST, _LAST = ("prompt", "provider", "operation"), ("follow_up", "recipe", "priority", "error")


#: what makes a prompt a template: characters that are literal only after a backslash
_SPECIAL = re.compile(r"[{}]|\\_|__")
_AS_TEMPLATE = re.compile(r"[{}]|(?<=\\)_|_(?=_)|(?<=_)_")


class FailingRows:
    """Collects rows in a `with` block and writes them at the end, when all their columns are known.

    Texts are written as the user wrote them, even if a spreadsheet takes them for formulas: a changed prompt would be a
    different row. Raises RequestInvalid for a format that `batch submit` does not read.
    """

    def __init__(self, stream: IO[bytes], format: Format) -> None:  # noqa: A002 - the word of all commands
        if format not in FORMATS:
            raise RequestInvalid(f"failing rows are written as {', '.join(FORMATS)}, not as {format}")
        self._stream, self._format = stream, format
        self._rows = TemporaryFile()  # noqa: SIM115 - closed at the end of the block
        self._columns: dict[str, dict[str, None]] = {"input": {}, "options": {}, "labels": {}}
        #: key → the newest version, for rows with several
        self._newest: dict[str, int] = {}
        self.follow_ups = 0
        self.count = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._rows.close()

    def add(self, one: BatchResult, remedy: str | None) -> None:
        generation = one.generation
        if generation.row_version > 1 and generation.key:
            for name in (generation.key, base_of(generation.key, is_choice=CHOICE in generation.input)):
                self._newest[name] = max(generation.row_version, self._newest.get(name, 1))
        if generation.state not in _FAILING:
            return
        if generation.id != one.root.id or generation.parent_id:
            self.follow_ups += 1
            return
        why = [part for part in (generation.reason, generation.message, remedy) if part]
        parts: dict[str, Mapping[str, object]] = {
            "input": {name: value for name, value in generation.input.items() if name != CHOICE},
            "options": generation.options,
            "labels": {f"label.{name}": value for name, value in one.labels.items()},
        }
        row = {
            "key": generation.key,
            "base": generation.key and base_of(generation.key, is_choice=CHOICE in generation.input),
            "version": generation.row_version,
            "prompt": _literal(generation.prompt),
            "provider": ",".join((generation.provider, *generation.providers)),
            "operation": generation.operation,
            "follow_up": ",".join(generation.follow_up),
            "recipe": generation.recipe_name or "",
            "priority": generation.priority,
            "error": guarded(": ".join(why) or generation.state),
        }
        for part, columns in self._columns.items():
            columns.update(dict.fromkeys(parts[part]))
        self._rows.write(json.dumps(parts | row).encode() + b"\n")

    def write(self) -> None:
        """Write all rows, except those with a newer version."""
        titles = ["key", *self._columns["input"], *_FIRST, *self._columns["options"], *self._columns["labels"], *_LAST]
        table: TableWriter | None = None
        lines = JsonLines(self._stream)
        if self._format is Format.CSV:
            table = CsvTable(self._stream, titles, guard=False)
        elif self._format is Format.XLSX:
            table = XlsxTable(self._stream, titles)
        self._rows.seek(0)
        for line in self._rows:
            row = json.loads(line)
            if row["version"] < max(self._newest.get(row["key"], 1), self._newest.get(row["base"], 1)):
                continue
            self.count += 1
            flat = _flat(row)
            if table is None:
                lines.add({name: flat[name] for name in titles if flat.get(name) not in (None, "", 0)})
            else:
                table.add([_cell(flat.get(name)) for name in titles])
        if table is not None:
            table.close()


def _literal(prompt: str) -> str:
    """Return the template that produces exactly this prompt; most prompts are one already."""
    return _AS_TEMPLATE.sub(r"\\\g<0>", prompt) if _SPECIAL.search(prompt) else prompt


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    plain = {name: row[name] for name in ("key", *_FIRST, *_LAST)}
    return {**row["input"], **row["options"], **row["labels"], **plain}


def _cell(value: object) -> Cell:
    # The form in which the reader accepts several images in one cell.
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return " ".join(value)
    return as_cell(value)
