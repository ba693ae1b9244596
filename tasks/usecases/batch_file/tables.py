"""Reads CSV separated by commas, semicolons or tabs, as its header shows."""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from tasks.shown import shown
from tasks.usecases.batch_file.columns import header_of, is_known
from tasks.usecases.batch_file.excel import ERROR_CELL, is_error
from tasks.usecases.batch_file.fault import Fault, refuse
from tasks.usecases.batch_file.lines import lines_of
from tasks.usecases.batch_file.rows import Damage, Row
from tasks.usecases.batch_file.spool import Spool

if TYPE_CHECKING:
    import _csv

_DELIMITERS = ",;\t"
_NAMES = {",": "commas", ";": "semicolons", "\t": "tabs"}


class Table:
    def __init__(self, spool: Spool) -> None:
        """Read the header. Raises RequestInvalid if there is none."""
        self._spool = spool
        self._delimiter, skipped, names = self._header()
        self._header_line = skipped + 1
        self._names = header_of(spool.name, self._header_line, names)

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(filter(None, self._names))

    def rows(self) -> Iterator[Row | Fault]:
        reader = self._reader(self._delimiter)
        begins, is_header = 0, True
        while True:
            begins = reader.line_num + 1
            try:
                cells = next(reader, None)
            except csv.Error as error:
                fault, can_continue = self._unreadable(begins, reader.line_num, error)
                yield fault
                if not can_continue:
                    return
                continue
            if cells is None:
                return
            if begins < self._header_line or not any(cells):
                continue
            if is_header:
                is_header = False
                continue
            row = row_of(self._names, cells, begins, self._delimiter)
            yield row if isinstance(row, Fault) else _with_errors(row)

    def _reader(self, delimiter: str) -> "_csv.Reader":
        return csv.reader(lines_of(self._spool), delimiter=delimiter, strict=True)

    def _header(self) -> tuple[str, int, Sequence[str]]:
        """Return the delimiter, the number of lines before the header, and the header's cells."""
        found: list[tuple[tuple[int, int], str, int, Sequence[str]]] = []
        for delimiter in _DELIMITERS:
            reader = self._reader(delimiter)
            try:
                skipped, cells = 0, next(reader)
                # Excel writes this line for itself, and there may be empty lines before the header.
                while not any(cells) or (skipped == 0 and "".join(cells).lower().startswith("sep=")):
                    skipped = reader.line_num
                    cells = next(reader)
            except (csv.Error, StopIteration):
                continue
            known = sum(map(is_known, cells))
            found.append(((known, len(cells)), delimiter, skipped, cells))
        if not found:
            refuse(self._spool.name, 1, 1, "the first line is not a header that names the columns")
        return max(found, key=lambda one: one[0])[1:]

    def _unreadable(self, begins: int, ends: int, error: csv.Error) -> tuple[Fault, bool]:
        """Return the fault, and whether the next line can be read."""
        text = str(error)
        if "field larger" in text or "unexpected end" in text:
            limit = csv.field_size_limit()
            what = f"a cell with more than {limit:,} characters, or a quote that is never closed"
            if "unexpected end" in text:
                what = 'a quote that is never closed: close it, or double it ("") if it is part of the text'
            return Fault(begins, None, None, what), False
        what = f'a quote inside a cell: put the whole cell in quotes and double the ones inside (""); {text}'
        return Fault(begins, None, None, what), ends >= begins


def _with_errors(row: Row) -> Row:
    errors = [name for name, cell in row.cells.items() if isinstance(cell, str) and is_error(cell)]
    return replace(row, damaged=dict.fromkeys(errors, Damage(ERROR_CELL, is_lost=True))) if errors else row


def row_of(names: Sequence[str], cells: Sequence[str], line: int, delimiter: str | None = None) -> Row | Fault:
    """Return the row; a Fault if its number of cells differs from the header's."""
    while len(cells) > len(names) and not cells[-1].strip():
        cells = cells[:-1]
    if len(cells) != len(names):
        is_more = len(cells) > len(names)
        separated = f", separated by {_NAMES[delimiter]}" if delimiter else ""
        advice = "put text that contains a separator in quotes" if is_more else "is a line broken, or a cell missing?"
        what = f"{len(cells)} cells{separated}, but the header has {len(names)}: {advice}"
        return Fault(line, None, shown(cells[len(names)]) if is_more else None, what)
    found = {}
    for position, (name, cell) in enumerate(zip(names, cells, strict=True), start=1):
        text = cell.strip()
        if text and not name:
            return Fault(line, position, shown(text), f"the header has no name for column {position}: give it one")
        if text:
            found[name] = text
    return Row(line=line, cells=found)
