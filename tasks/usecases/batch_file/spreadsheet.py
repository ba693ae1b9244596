"""Reads XLSX: another process turns one sheet into lines of JSON, so that no file can exhaust this process's memory."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from tasks.usecases.batch_file.columns import header_of
from tasks.usecases.batch_file.excel import ERROR_CELL, made_of
from tasks.usecases.batch_file.fault import Fault, refuse
from tasks.usecases.batch_file.rows import Damage, Row
from tasks.usecases.batch_file.spool import Spool, reader_of
from tasks.usecases.batch_file.tables import row_of
from worker.errors import DarkroomError

#: not imported, because only that process needs its libraries
_PROGRAM = str(Path(__file__).with_name("spreadsheet_child.py"))
#: bytes and seconds; a sheet of a million rows needs less
MEMORY = 1 << 30
CPU_SECONDS = 60
_WALL_SECONDS = 300
#: bytes, unpacked
LARGEST = 1 << 30
_AS_CSV = "save the sheet as CSV UTF-8"
_BROKEN = {
    "formula": "a formula without a stored result: open the file in Excel or LibreOffice and save it again",
    "error": ERROR_CELL,
}
#: digits of a number that Excel keeps
_DIGITS = 15


class Spreadsheet:
    """A spreadsheet. `sheet`: the name of the sheet that is read; `others`: other sheets with cells."""

    def __init__(self, spool: Spool, sheet: str | None) -> None:
        """Convert the sheet, by default the first. Raises RequestInvalid if it cannot be read."""
        self._name = spool.name
        self._rows: IO[bytes] = tempfile.TemporaryFile(prefix="darkroom-sheet-")  # noqa: SIM115
        try:
            facts = self._convert(spool, sheet)
            self.sheet: str = facts["sheet"]
            self.others: tuple[str, ...] = tuple(facts["others"])
            self._header_line, cells = next(self._lines(), (1, []))
            if not any(cells):
                refuse(self._name, None, None, f"the sheet {self.sheet!r} is empty{self._elsewhere()}")
            self._names = header_of(self._name, self._header_line, [_text(cell) for cell in cells])
        except BaseException:
            self.close()
            raise

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(filter(None, self._names))

    def rows(self) -> Iterator[Row | Fault]:
        width = len(self._names)
        for number, cells in self._lines():
            if number <= self._header_line:
                continue
            padded = [*cells, *[None] * (width - len(cells))]
            row = row_of(self._names, [_text(cell) for cell in padded], number)
            damaged = _damaged(self._names, padded)
            yield row if isinstance(row, Fault) or not damaged else Row(line=number, cells=row.cells, damaged=damaged)

    def close(self) -> None:
        self._rows.close()

    def _lines(self) -> Iterator[tuple[int, list[Any]]]:
        reader = reader_of(self._rows.fileno())
        next(reader)
        for line in reader:
            number, cells = json.loads(line)
            yield number, cells

    def _convert(self, spool: Spool, sheet: str | None) -> dict[str, Any]:
        name = spool.name
        os.lseek(spool.descriptor, 0, os.SEEK_SET)
        limits = map(str, (LARGEST, MEMORY, CPU_SECONDS))
        program = (sys.executable, "-I", _PROGRAM, sheet or "", *limits)
        try:
            done = subprocess.run(  # noqa: S603 - our own program
                program,
                stdin=spool.descriptor,
                stdout=self._rows,
                stderr=subprocess.DEVNULL,
                env={},
                cwd="/",
                timeout=_WALL_SECONDS,
                check=False,
            )
        except OSError as error:
            raise DarkroomError(
                f"{name}: cannot start the program that reads spreadsheets: {error.strerror}"
            ) from error
        except subprocess.TimeoutExpired:
            refuse(name, 1, 1, f"this spreadsheet takes more than {_WALL_SECONDS} s to read: {_AS_CSV}")
        if done.returncode in {-signal.SIGXCPU, -signal.SIGKILL}:
            refuse(name, 1, 1, f"this spreadsheet takes more than {CPU_SECONDS} s to read: {_AS_CSV}")
        facts = json.loads(next(reader_of(self._rows.fileno()), b"{}")) if done.returncode == 0 else {}
        if not facts:
            refuse(name, 1, 1, f"this spreadsheet needs more than {MEMORY >> 20:,} MB of memory: {_AS_CSV}")
        if "error" in facts:
            refuse(name, 1, 1, _failure(facts))
        return facts

    def _elsewhere(self) -> str:
        return f"; these are not: {', '.join(self.others)} (--sheet NAME)" if self.others else ""


def _failure(facts: Mapping[str, Any]) -> str:
    if facts["error"] == "no_sheet":
        return f"there is no such sheet; the sheets are {', '.join(facts['sheets'])}"
    if facts["error"] == "no_spreadsheet":
        return "this is a ZIP file, but not a spreadsheet (.xlsx): save it as .xlsx or CSV"
    if facts["error"] == "unpacks":
        return f"this spreadsheet unpacks to {facts['bytes'] >> 20:,} MB, too much to read: {_AS_CSV}"
    if facts["error"] == "too_large":
        return f"this spreadsheet needs more than {MEMORY >> 20:,} MB of memory: {_AS_CSV}"
    return f"a damaged spreadsheet ({facts.get('detail') or facts['error']}): save it again, or as CSV"


def _text(cell: Any) -> str:
    if cell is None:
        return ""
    if isinstance(cell, bool):
        return str(cell).lower()
    if isinstance(cell, dict):
        (text,) = cell.values()
        return str(text)
    return str(cell)


def _damaged(names: Sequence[str], cells: Sequence[Any]) -> dict[str, Damage]:
    found = {}
    for name, cell in zip(names, cells, strict=False):
        if isinstance(cell, dict):
            ((kind, what),) = cell.items()
            found[name] = Damage(_BROKEN[what], is_lost=True) if kind == "broken" else Damage(made_of(kind, what))
        elif isinstance(cell, int | float) and not isinstance(cell, bool) and abs(cell) >= 10**_DIGITS:
            what = f"Excel keeps only {_DIGITS} digits of a number: format the column as text and enter it again"
            found[name] = Damage(what)
    return found
