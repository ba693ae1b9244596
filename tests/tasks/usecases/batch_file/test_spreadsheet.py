"""Spreadsheets: read as they look, their damage named, and none that takes the memory."""

import io
import zipfile
from collections.abc import Callable, Iterable
from datetime import date, time

import pytest
import xlsxwriter

from tasks.usecases.batch_file import open_batch_file, spreadsheet
from tests.tasks.usecases.batch_file.reading import read_all, read_entries
from worker.errors import RequestInvalid

_HEAD = b'<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>'


def xlsx(fill: Callable[[xlsxwriter.Workbook], None]) -> bytes:
    file = io.BytesIO()
    with xlsxwriter.Workbook(file) as book:
        fill(book)
    return file.getvalue()


def of_rows(*rows: Iterable[object], at: int = 0) -> bytes:
    def fill(book: xlsxwriter.Workbook) -> None:
        sheet = book.add_worksheet("rows")
        formats = {date: book.add_format({"num_format": "yyyy-mm-dd"}), time: book.add_format({"num_format": "hh:mm"})}
        for number, row in enumerate(rows, start=at):
            for column, cell in enumerate(row, start=at):
                if isinstance(cell, date | time):
                    sheet.write_datetime(number, column, cell, formats[type(cell)])
                else:
                    sheet.write(number, column, cell)

    return xlsx(fill)


def with_sheet(xml: Iterable[bytes]) -> bytes:
    """A book whose first sheet has this XML instead of its own."""
    file = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(of_rows(["prompt"]))) as source,
        zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as target,
    ):
        for name in source.namelist():
            with target.open(name, "w") as part:
                part.writelines([source.read(name)] if name != "xl/worksheets/sheet1.xml" else xml)
    return file.getvalue()


def refusal(raw: bytes, sheet: str | None = None) -> str:
    with pytest.raises(RequestInvalid) as caught:
        read_all("p.xlsx", raw, sheet=sheet)
    return str(caught.value)


@pytest.mark.parametrize("at", [0, 2])
def test_cells_are_read_as_they_look(at: int) -> None:
    raw = of_rows(
        ["SKU", "prompt", "aspect_ratio", "hd", "price", "since"],
        ["0042", "a {price} fox", "16:9", True, 2.5, date(2026, 3, 2)],
        [],
        [1042, "an owl", "", "", 3.0, ""],
        at=at,
    )
    first, second = read_entries("p.xlsx", raw)
    assert (first.key, first.prompt, first.options) == ("0042", "a 2.5 fox", {"aspect_ratio": "16:9", "hd": "true"})
    assert first.input == {"price": "2.5", "since": "2026-03-02"}
    assert (second.key, second.input, second.place.line) == ("1042", {"price": "3"}, 4 + at)


def test_what_excel_made_of_a_cell_is_named() -> None:
    raw = of_rows(
        ["sku", "prompt", "aspect_ratio", "version"],
        ["0042", "a", time(16, 9), ""],
        [43, "b", date(2026, 3, 2), date(2026, 1, 8)],
        [date(2026, 11, 3), "c", "", ""],
        [12345678901234567, "d", "", ""],
    )
    _, faults = read_all("p.xlsx", raw)
    assert [sentence.split(": ", 1)[0] for sentence in faults] == [
        "line 2, column aspect_ratio",
        "line 3, column sku",
        "line 3, column aspect_ratio",
        "line 3, column version",
        "line 4, column sku",
        "line 5, column sku",
    ]
    assert "a time that a spreadsheet made from the ratio 16:9" in faults[0]
    assert "has 43 lost its leading zeros? The key on line 2 is 0042" in faults[1]
    assert "keeps only 15 digits" in faults[5]


def test_a_formula_counts_with_its_result_and_is_named_without_one() -> None:
    xml = (
        b'<row r="1"><c r="A1" t="inlineStr"><is><t>prompt</t></is></c>'
        b'<c r="B1" t="inlineStr"><is><t>size</t></is></c></row>'
        b'<row r="2"><c r="A2" t="str"><f>"a"&amp;"b"</f><v>ab</v></c><c r="B2"><f>1+1</f><v>2</v></c></row>'
        b'<row r="3"><c r="A3"><f>A2</f><v></v></c></row>'
        b'<row r="4"><c r="A4" t="inlineStr"><is><t>c</t></is></c><c r="B4" t="e"><f>1/0</f><v>#DIV/0!</v></c></row>'
    )
    entries, faults = read_all("p.xlsx", with_sheet([_HEAD, xml, b"</sheetData></worksheet>"]))
    assert [(entry.prompt, entry.input) for entry in entries] == [("ab", {"size": "2"})]
    assert [sentence.split(":")[0] for sentence in faults] == ["line 3, column prompt", "line 4, column size"]
    assert "a formula without a stored result" in faults[0]


def test_the_first_sheet_is_read_or_the_one_that_is_named() -> None:
    def fill(book: xlsxwriter.Workbook) -> None:
        for name in ("one", "two", "empty"):
            sheet = book.add_worksheet(name)
            if name != "empty":
                sheet.write_column(0, 0, ["prompt", f"a fox of {name}"])

    raw = xlsx(fill)
    assert [entry.prompt for entry in read_entries("p.xlsx", raw)] == ["a fox of one"]
    assert [entry.prompt for entry in read_all("p.xlsx", raw, sheet="two")[0]] == ["a fox of two"]
    with open_batch_file("p.xlsx", io.BytesIO(raw)) as file:
        assert (file.sheet, file.other_sheets) == ("one", ("two",))
    assert "there is no such sheet; the sheets are one, two, empty" in refusal(raw, "three")
    assert "the sheet 'empty' is empty; these are not: one, two (--sheet NAME)" in refusal(raw, "empty")


def test_what_takes_too_much_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def far(book: xlsxwriter.Workbook) -> None:
        sheet = book.add_worksheet()
        sheet.write(0, 0, "prompt")
        sheet.write(1_048_575, 16_383, "far away")

    assert "needs more than 1,024 MB of memory" in refusal(xlsx(far))
    monkeypatch.setattr(spreadsheet, "LARGEST", 1 << 20)
    assert "unpacks to 2 MB, too much to read" in refusal(with_sheet([b" " * (2 << 20)]))


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        (of_rows(["prompt"], ["a"])[:2000], "a damaged spreadsheet (File is not a zip file)"),
        (with_sheet([b"<worksheet><sheetData><row><c"]), ""),
        (
            b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 500 + "EncryptedPackage".encode("utf-16-le"),
            "line 1, column 1: this spreadsheet is password-protected",
        ),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 500, "an old Excel or Word file (.xls, .doc): save it as .xlsx"),
    ],
    ids=["cut", "bad-xml", "password", "old"],
)
def test_what_is_no_spreadsheet_is_refused_in_one_sentence(raw: bytes, told: str) -> None:
    said = refusal(raw)
    assert said.startswith("p.xlsx")
    assert told in said
