"""The program that reads a spreadsheet for `spreadsheet.py`, with limited memory and time: the file may be hostile.

Standard input is the file. Standard output gets one JSON document per line: first the facts of the sheet, or the error;
then the number and the cells of each row. Values that JSON lacks are objects with one name: {"date": …}, {"time": …} or
{"broken": …}.
"""

import datetime as dt
import json
import re
import resource
import sys
import zipfile
from typing import Any
from xml.etree import ElementTree as ET

_MAIN = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
_LINKS = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}id"
#: a cell with a formula but no result, and one with an error such as #REF!; both are read as empty
_BROKEN = re.compile(
    rb'<c\b(?P<error>[^>]*\bt="e"[^>]*)>'
    rb"|<c\b(?P<formula>[^>]*)>\s*<f\b(?:[^>]*/>|[^>]*>[^<]*</f>)\s*(?:<v\s*/>|<v>\s*</v>)?\s*</c>"
)
_PLACE = re.compile(rb'\br="([A-Z]+)([0-9]+)"')
_PIECE = 1 << 20
#: maximum characters between a cell's beginning and its end
_LONGEST_CELL = 40_000


def main(sheet_name: str, largest: int, memory: int, cpu_seconds: int) -> None:
    # Load this before the limits are set.
    from python_calamine import CalamineWorkbook  # noqa: PLC0415

    for limit, most in (
        *((resource.RLIMIT_AS, memory), (resource.RLIMIT_FSIZE, memory)),
        *((resource.RLIMIT_CPU, cpu_seconds), (resource.RLIMIT_CORE, 0)),
    ):
        _, hard = resource.getrlimit(limit)
        resource.setrlimit(limit, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))
    file = open(0, "rb")  # noqa: SIM115 - closed with the process
    with zipfile.ZipFile(file) as archive:
        if "xl/workbook.xml" not in archive.namelist():
            _fail("no_spreadsheet")
        if (unpacked := sum(one.file_size for one in archive.infolist())) > largest:
            _fail("unpacks", bytes=unpacked)
        paths = _paths(archive)
        file.seek(0)
        book = CalamineWorkbook.from_filelike(file)
        sheets = [one.name for one in book.sheets_metadata if "Visible" in str(one.visible).split(".")[-1:]]
        names = sheets or book.sheet_names
        if sheet_name and sheet_name not in book.sheet_names:
            _fail("no_sheet", sheets=book.sheet_names)
        chosen = sheet_name or names[0]
        others = [name for name in names if name != chosen and _has_rows(archive, paths.get(name))]
        broken = _broken_cells(archive, paths.get(chosen))
    sheet = book.get_sheet_by_name(chosen)
    # Rows start at the first row, but columns at the first one with cells.
    _, first_column = sheet.start or (0, 0)
    _tell({"sheet": chosen, "others": others})
    for number, cells in enumerate(sheet.iter_rows(), start=1):
        row: list[Any] = [None] * first_column + [_plain(cell) for cell in cells]
        for column, what in broken.get(number, {}).items():
            row += [None] * (column + 1 - len(row))
            row[column] = {"broken": what}
        if any(cell not in (None, "") for cell in row):
            _tell([number, row])


def _plain(cell: Any) -> Any:
    if isinstance(cell, float) and cell.is_integer() and abs(cell) < 1e300:
        return int(cell)
    if isinstance(cell, dt.timedelta):
        seconds = round(cell.total_seconds())
        return {"time": f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"}
    if isinstance(cell, dt.time):
        return {"time": cell.isoformat("seconds")}
    if isinstance(cell, dt.date):
        return {"date": cell.isoformat()}
    return cell


def _paths(archive: zipfile.ZipFile) -> dict[str, str]:
    """Return where each sheet is in the archive."""
    links = ET.fromstring(archive.read("xl/_rels/workbook.xml.rels"))  # noqa: S314 - this process is isolated
    targets = {link.get("Id"): str(link.get("Target")) for link in links}
    book = ET.fromstring(archive.read("xl/workbook.xml"))  # noqa: S314
    found = {str(one.get("name")): targets.get(one.get(_LINKS), "") for one in book.iter(f"{_MAIN}sheet")}
    return {name: path.removeprefix("/") if path.startswith("/") else f"xl/{path}" for name, path in found.items()}


def _has_rows(archive: zipfile.ZipFile, path: str | None) -> bool:
    if path is None or path not in archive.namelist():
        return False
    with archive.open(path) as file:
        return b"<c " in file.read(_PIECE)


def _broken_cells(archive: zipfile.ZipFile, path: str | None) -> dict[int, dict[int, str]]:
    """Return row → column → what is broken; rows start at 1, columns at 0."""
    found: dict[int, dict[int, str]] = {}
    if path is None or path not in archive.namelist():
        return found
    with archive.open(path) as file:
        text = b""
        while piece := file.read(_PIECE):
            text = text[-_LONGEST_CELL:] + piece
            for match in _BROKEN.finditer(text):
                what = "error" if match["error"] is not None else "formula"
                if place := _PLACE.search(match[what]):
                    found.setdefault(int(place[2]), {})[_column(place[1].decode())] = what
    return found


def _column(letters: str) -> int:
    number = 0
    for letter in letters:
        number = number * 26 + ord(letter) - ord("A") + 1
    return number - 1


def _tell(document: Any) -> None:
    sys.stdout.write(f"{json.dumps(document)}\n")


def _fail(error: str, **more: Any) -> None:
    _tell({"error": error, **more})
    sys.stdout.flush()
    raise SystemExit(0)


if __name__ == "__main__":
    try:
        main(sys.argv[1], *map(int, sys.argv[2:]))
    except MemoryError:
        _fail("too_large")
    except Exception as error:  # noqa: BLE001 - whatever the libraries raise
        kind = type(error).__name__
        _fail("password" if kind == "PasswordError" else "unreadable", detail=f"{error}"[:200])
