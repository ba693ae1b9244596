"""Results as CSV, JSON lines and XLSX, each row written as it comes."""

import codecs
import csv
import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from enum import StrEnum
from pathlib import PurePath
from typing import IO, TYPE_CHECKING, Any, Protocol

from tasks.usecases.batches.results.tables import Cell, as_texts, guarded
from worker.errors import RequestInvalid

if TYPE_CHECKING:
    from xlsxwriter.worksheet import Worksheet


class Format(StrEnum):
    CSV = "csv"
    JSONL = "jsonl"
    JSON = "json"
    XLSX = "xlsx"
    HTML = "html"

    @property
    def content_type(self) -> str:
        return _CONTENT_TYPES[self]

    @classmethod
    def of(cls, name: str) -> "Format | None":
        """Return the format for a file name's suffix."""
        suffix = PurePath(name).suffix.lower().removeprefix(".")
        return cls(suffix) if suffix in set(cls) else None


_CONTENT_TYPES = {
    Format.CSV: "text/csv; charset=utf-8",
    Format.JSONL: "application/jsonl",
    Format.JSON: "application/json",
    Format.XLSX: "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    Format.HTML: "text/html; charset=utf-8",
}


#: characters; widths of the XLSX columns that contain sentences
_WIDTHS = {"prompt": 60, "remedy": 40, "message": 40}


class TableWriter(Protocol):
    def add(self, cells: Sequence[Cell]) -> None:
        """Write one row."""

    def close(self) -> None:
        """Write what is left; the stream stays open."""


class CsvTable:
    """RFC 4180; with `mark`, Excel reads it as UTF-8. With `guard`, no cell is a formula."""

    def __init__(self, stream: IO[bytes], titles: Sequence[str], *, mark: bool = True, guard: bool = True) -> None:
        stream.write(codecs.BOM_UTF8 if mark else b"")
        self._rows = csv.writer(_Utf8(stream))
        self._guard = guard
        self.add(titles)

    def add(self, cells: Sequence[Cell]) -> None:
        texts = as_texts(cells)
        self._rows.writerow([guarded(text) for text in texts] if self._guard else texts)

    def close(self) -> None:
        """Nothing is left."""


class _Utf8:
    """Encodes text. Unlike TextIOWrapper, never closes its stream, which may be standard output."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        # A lone surrogate cannot be encoded as UTF-8.
        self._stream.write(text.encode(errors="backslashreplace"))


class XlsxTable:
    """One sheet in constant memory, with a frozen header and filters; texts stay texts, never formulas or links."""

    #: Excel's maximum of rows, columns, characters per cell, links per sheet and characters per link
    _ROWS, _COLUMNS, _CHARACTERS, _LINKS, _LINK_CHARACTERS = 1_048_576, 16_384, 32_767, 65_530, 2079

    def __init__(self, stream: IO[bytes], titles: Sequence[str], links: Sequence[bool] = ()) -> None:
        # It takes a tenth of a second to import.
        import xlsxwriter  # noqa: PLC0415

        if len(titles) > self._COLUMNS:
            raise RequestInvalid(f"{len(titles):,} columns are more than Excel can read: use --format csv")
        safe = {"strings_to_formulas": False, "strings_to_urls": False, "strings_to_numbers": False}
        self._book = xlsxwriter.Workbook(stream, {"constant_memory": True, **safe})
        self._sheet: Worksheet = self._book.add_worksheet("results")
        self._links = [*links, *([False] * (len(titles) - len(links)))]
        self._links_left = self._LINKS
        self._money = self._book.add_format({"num_format": "0.00####"})
        self._row = 0
        for number, title in enumerate(titles):
            self._sheet.set_column(number, number, _WIDTHS.get(title, min(max(len(title) + 2, 12), 30)))
        self._sheet.freeze_panes(1, 1)
        self._sheet.autofilter(0, 0, self._ROWS - 1, max(len(titles) - 1, 0))
        bold = self._book.add_format({"bold": True})
        for number, title in enumerate(titles):
            self._sheet.write_string(0, number, title[: self._CHARACTERS], bold)

    def add(self, cells: Sequence[Cell]) -> None:
        self._row += 1
        if self._row >= self._ROWS:
            raise RequestInvalid(f"more than {self._ROWS - 1:,} rows, which Excel cannot read: use --format csv")
        for number, cell in enumerate(cells):
            if isinstance(cell, Decimal):
                self._sheet.write_number(self._row, number, float(cell), self._money)
            elif isinstance(cell, int) and abs(cell) < 10**15:
                self._sheet.write_number(self._row, number, cell)
            elif cell is not None and cell != "":
                self._write_text(number, str(cell))

    def close(self) -> None:
        self._book.close()

    def _write_text(self, number: int, text: str) -> None:
        if len(text) > self._CHARACTERS:
            text = f"{text[: self._CHARACTERS - 1]}…"
        if self._links[number] and self._links_left and len(text) <= self._LINK_CHARACTERS:
            self._links_left -= 1
            self._sheet.write_url(self._row, number, text, string="open")
        else:
            self._sheet.write_string(self._row, number, text)


class JsonLines:
    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream

    def add(self, document: Mapping[str, Any]) -> None:
        self._stream.write(_json(document) + b"\n")

    def close(self) -> None:
        """Nothing is left."""


class JsonArray:
    """One array, with one element per line."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._before = b"[\n"

    def add(self, document: Mapping[str, Any]) -> None:
        self._stream.write(self._before + _json(document))
        self._before = b",\n"

    def close(self) -> None:
        self._stream.write(b"[]\n" if self._before.startswith(b"[") else b"\n]\n")


def _json(document: Mapping[str, Any]) -> bytes:
    # A lone surrogate cannot be encoded as UTF-8, but its escape is valid JSON.
    return json.dumps(document, ensure_ascii=False).encode(errors="backslashreplace")
