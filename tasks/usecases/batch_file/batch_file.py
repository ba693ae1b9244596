"""A batch file: its rows as entries, whatever its format."""

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property, lru_cache
from types import TracebackType
from typing import BinaryIO, Self

from tasks.shown import shown
from tasks.usecases.batch_file.columns import Columns, columns_of
from tasks.usecases.batch_file.entries import Reading, key_of
from tasks.usecases.batch_file.excel import LeadingZeros
from tasks.usecases.batch_file.fault import Fault, refuse
from tasks.usecases.batch_file.formats import Format, format_of
from tasks.usecases.batch_file.json_rows import JsonArray, JsonLines
from tasks.usecases.batch_file.rows import Row, RowReader
from tasks.usecases.batch_file.spool import Spool
from tasks.usecases.batch_file.spreadsheet import Spreadsheet
from tasks.usecases.batch_file.tables import Table
from tasks.usecases.batch_file.template import read_template
from tasks.usecases.batch_file.text_rows import TextLines
from tasks.usecases.entry import Entry, Place
from worker.errors import DarkroomError, RequestInvalid

#: how many entries a template may make from one row, unless more are allowed
EXPAND_LIMIT = 64
#: the same for a whole file
MAX_SUBMISSIONS = 50_000


@dataclass(frozen=True, slots=True)
class Counted:
    """Counts of a file. `submissions`: the entries of all rows, before they are checked."""

    rows: int
    submissions: int


class BatchFile:
    """A file that can be read again and again; its private copy is deleted when it is closed.

    `sha256`: of its bytes; `sheet`: the name of the sheet that is read; `other_sheets`: other sheets with cells.
    """

    def __init__(self, spool: Spool, file_format: Format, reader: RowReader, sheet: Spreadsheet | None) -> None:
        self._spool = spool
        self._reader = reader
        self._sheet = sheet
        self.format = file_format
        self._columns_of_names = lru_cache(1000)(lambda names: columns_of(names, is_table=reader.columns is not None))

    @property
    def name(self) -> str:
        return self._spool.name

    @property
    def sha256(self) -> str:
        return self._spool.sha256

    @property
    def sheet(self) -> str | None:
        return self._sheet.sheet if self._sheet else None

    @property
    def other_sheets(self) -> tuple[str, ...]:
        return self._sheet.others if self._sheet else ()

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """All columns, in the order in which they first appear."""
        if self._reader.columns is not None:
            return self._reader.columns
        found: dict[str, None] = {}
        for row in self._reader.rows():
            if isinstance(row, Row):
                found.update(dict.fromkeys(row.cells))
        return tuple(found)

    def require_prompts(self) -> None:
        """Raise RequestInvalid for a table without a prompt column, which may lack a header."""
        names = self._reader.columns
        if names and not columns_of(names).fields.keys() & {"prompt", "operation"}:
            raise RequestInvalid(
                f"{self.name}: no column is named prompt, only {shown(', '.join(names))}: the first line must name "
                "the columns; or give a template for the prompts, such as --template 'a photo of {name}'"
            )

    def count(self, template: str | None = None) -> Counted:
        """Count rows and entries, in a fraction of the time that checking them takes."""
        reading = self._reading(template, EXPAND_LIMIT)
        rows = submissions = 0
        for row in self._reader.rows():
            rows += 1
            if isinstance(row, Row):
                try:
                    submissions += reading.count(row, self._columns(row))
                except RequestInvalid:
                    continue
        return Counted(rows, submissions)

    def rows(self, template: str | None = None, expand_limit: int = EXPAND_LIMIT) -> Iterator[Entry | Fault]:
        """Yield the entries of each row, or its faults; a row makes several entries if its prompt expands.

        `template` replaces the prompts; RequestInvalid if it is invalid. `expand_limit`: entries per row.
        """
        reading = self._reading(template, expand_limit)
        lines: dict[str, int] = {}
        number = 0
        for number, row in enumerate(self._reader.rows(), start=1):
            if isinstance(row, Fault):
                yield Fault(row.line, row.column, row.value, row.message, number)
                continue
            try:
                columns = self._columns(row)
            except RequestInvalid as error:
                yield Fault(row.line, next(iter(error.about), None), None, str(error), number)
                continue
            try:
                found = list(reading.entries(row, columns, number))
            except RecursionError:
                yield Fault(row.line, row.at, None, "this row has brackets nested too deeply", number)
                continue
            # Rows whose prompts expand have further keys, which may collide with other rows' own keys.
            keys = dict.fromkeys([key_of(row, columns), *(one.key for one in found if isinstance(one, Entry))])
            again = next((key for key in keys if key in lines), None)
            if again is not None:
                yield from (one for one in found if isinstance(one, Fault))
                what = f"the key {shown(again)!r} is already used on line {lines[again]}"
                yield Fault(row.line, columns.key, shown(again), what, number)
                continue
            lines.update((key, row.line) for key in keys if key)
            yield from found
        if not number:
            raise RequestInvalid(f"{self.name} contains no rows")

    def cells(self) -> Iterator[tuple[int, Mapping[str, object]]]:
        """Yield each row's number and cells as written; no cells for an unreadable row."""
        for number, row in enumerate(self._reader.rows(), start=1):
            yield number, row.cells if isinstance(row, Row) else {}

    def close(self) -> None:
        self._spool.close()
        if self._sheet:
            self._sheet.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _columns(self, row: Row) -> Columns:
        return self._columns_of_names(self._reader.columns or tuple(row.cells))

    def _reading(self, template: str | None, limit: int) -> Reading:
        parsed = None
        if template is not None:
            try:
                # Lines of a text file have no columns, only a prompt.
                parsed = read_template(template, self.columns or ("prompt",))
            except RequestInvalid as error:
                raise RequestInvalid(f"{Place('the template', column=(error.at or 0) + 1)}: {error}") from error
        return Reading(
            file=self.name, names=self._reader.columns, template=parsed, limit=limit, zeros=self._leading_zeros
        )

    @cached_property
    def _leading_zeros(self) -> LeadingZeros:
        found = LeadingZeros()
        names = self._reader.columns
        # A program that writes JSON distinguishes text from numbers.
        if names and (key := columns_of(names).key):
            for row in self._reader.rows():
                if isinstance(row, Row) and isinstance(text := row.cells.get(key), str):
                    found.note(text, row.line)
        return found


def open_batch_file(
    name: str, stream: BinaryIO, sheet: str | None = None, *, media_type: str | None = None
) -> BatchFile:
    """Copy the stream and detect its format. `sheet`: of a spreadsheet, the first one by default.

    `media_type`: one of MEDIA_TYPES that declares the format; otherwise the name does.

    Raises RequestInvalid, with the place, if it is not a batch file, and DarkroomError if it cannot be copied.
    """
    try:
        with ExitStack() as cleanup:
            spool = Spool(name, stream)
            cleanup.callback(spool.close)
            found = format_of(spool, media_type)
            if sheet is not None and found is not Format.XLSX:
                refuse(name, None, None, f"this is not a spreadsheet, so it has no sheet {sheet!r}")
            book = Spreadsheet(spool, sheet) if found is Format.XLSX else None
            reader: RowReader = book or _READERS[found](spool)
            cleanup.pop_all()
            return BatchFile(spool, found, reader, book)
    except OSError as error:
        raise DarkroomError(f"{name} cannot be copied to {tempfile.gettempdir()}: {error.strerror}") from error


def read_entries(file: BatchFile) -> list[Entry]:
    """Return all entries of a file; raises RequestInvalid for the first fault."""
    entries = []
    for one in file.rows():
        if isinstance(one, Fault):
            raise RequestInvalid(one.sentence(file.name))
        entries.append(one)
    return entries


_READERS: Mapping[Format, Callable[[Spool], RowReader]] = {
    Format.CSV: Table,
    Format.JSON_LINES: JsonLines,
    Format.JSON: JsonArray,
    Format.TEXT: TextLines,
}
