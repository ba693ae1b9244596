"""Tables: CSV as programs write it, and what spreadsheets do to it."""

# ruff: noqa: RUF001  the alphabets are what is tested

import io
import os
from pathlib import Path

import pytest

from tasks.usecases.batch_file import open_batch_file
from tests.tasks.usecases.batch_file.reading import read_all, read_entries
from worker.errors import DarkroomError, RequestInvalid


def refusal(raw: str | bytes, name: str = "p.csv") -> str:
    with pytest.raises(RequestInvalid) as caught:
        read_all(name, raw)
    return str(caught.value)


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_columns_are_separated_as_the_header_says(separator: str, mark: str, end: str) -> None:
    rows = [
        ("SKU", "prompt", "Aspect Ratio"),
        ("0042", '"a, ""big""; red\tfox"', "16:9"),
        ("", "", ""),
        ("7a", "b", ""),
    ]
    raw = mark + end.join(separator.join(row) for row in rows)
    first, second = read_entries("p.csv", raw)
    assert (first.key, first.prompt, first.options) == ("0042", 'a, "big"; red\tfox', {"aspect_ratio": "16:9"})
    assert (second.key, second.options, second.row_number, second.place.line) == ("7a", {}, 2, 4)


@pytest.mark.parametrize("error", ["#REF!", "#N/A", "#NAME?", "#VALUE!", "#DIV/0!", "#BEZUG!", "#NV", "#¿NOMBRE?"])
@pytest.mark.parametrize("column", ["key", "prompt", "aspect_ratio", "label.client", "colour"])
def test_the_error_of_a_formula_is_refused_in_csv_as_in_a_spreadsheet(column: str, error: str) -> None:
    cells = {"key": "1", "prompt": "a fox", "aspect_ratio": "1:1", "label.client": "acme", "colour": "red"}
    raw = f"{','.join(cells)}\n{','.join((cells | {column: error}).values())}\n"
    entries, (fault,) = read_all("p.csv", raw)
    assert not entries
    assert fault == f"line 2, column {column}: an error such as #REF! or #N/A: correct the formula"


def test_a_prompt_may_speak_of_an_error() -> None:
    assert read_entries("p.csv", "prompt\na sign that says #REF!\n")[0].prompt == "a sign that says #REF!"


def test_what_excel_writes_for_itself_is_no_header() -> None:
    assert read_entries("p.csv", "sep=;\nprompt;key\na;b\n")[0].key == "b"


def test_all_other_columns_are_the_users_own() -> None:
    raw = "id,prompt,colour,label.client,error,priority\n1,a {colour} hat,red,acme,old,5\n"
    (entry,) = read_entries("p.csv", raw)
    assert (entry.prompt, entry.input, entry.labels, entry.priority) == (
        "a red hat",
        {"colour": "red"},
        {"client": "acme"},
        5,
    )


def test_a_row_is_the_same_without_its_error_and_in_another_format() -> None:
    (first,) = read_entries("p.csv", "key,prompt,colour\n1,a hat,red\n")
    (second,) = read_entries("p.csv", "colour;error;prompt;key;size\nred;wrong;a hat;1;\n")
    (third,) = read_entries("p.jsonl", '{"key": "1", "colour": "red", "prompt": "a hat", "error": "wrong"}')
    (changed,) = read_entries("p.csv", "key,prompt,colour\n1,a hat,blue\n")
    assert first.row_sha256 == second.row_sha256 == third.row_sha256 != changed.row_sha256


def test_a_template_fills_in_the_columns_and_a_cell_stays_what_it_is() -> None:
    raw = 'sku,name,prompt\n1,"{hat, cap}",red\n'
    entries, faults = read_all("p.csv", raw, template="{prompt} {name} in {snow, rain}")
    assert [(one.key, one.prompt, one.input["_choice"]) for one in entries] == [
        ("1/1", "red {hat, cap} in snow", "snow"),
        ("1/2", "red {hat, cap} in rain", "rain"),
    ]
    assert not faults
    with pytest.raises(RequestInvalid, match=r"the template, column 3: \{size\} is not a column"):
        read_all("p.csv", raw, template="a {size}")


def test_every_mistake_of_every_row_is_found() -> None:
    raw = """\
sku,prompt,aspect_ratio,priority
0001,a fox,16:09,
0002,a fox,16:09:00,high
3,a fox,3-Feb,
1.23E+12,a fox,,
0005,a fox
0006,a fox,1:1,,more
0007,a {b} fox,1:1,
0001,a fox,1:1,
0008,"a "big" fox",1:1,
0009,"{a, b} {a, b}",,
0010,a fox,1:1,
"""
    entries, faults = read_all("p.csv", raw, limit=3)
    assert [entry.key for entry in entries] == ["0010"]
    assert [sentence.split(": ")[0] for sentence in faults] == [
        "line 2, column aspect_ratio",
        "line 3, column aspect_ratio",
        "line 3, column priority",
        "line 4, column sku",
        "line 4, column aspect_ratio",
        "line 5, column sku",
        "line 6",
        "line 7",
        "line 8, column prompt",
        "line 9, column sku",
        "line 10",
        "line 11, column prompt",
    ]


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        ("key,prompt\n1,a\n2,b\n1,c\n", "line 4, column key: the key '1' is already used on line 2"),
        ('key,prompt\n1,"{a, b}"\n1,c\n', "line 3, column key: the key '1' is already used on line 2"),
        ('key,prompt\n1/2,a\n1,"{a, b}"\n', "line 3, column key: the key '1/2' is already used on line 2"),
        ('key,prompt\n1,"{a, b}"\n1/2,a\n', "line 3, column key: the key '1/2' is already used on line 2"),
        ("key,prompt\n1,{a}\n1,a\n", "line 3, column key: the key '1' is already used on line 2"),
    ],
)
def test_a_key_that_two_rows_have_is_told_with_both_lines(raw: str, told: str) -> None:
    assert read_all("p.csv", raw)[1][-1] == told


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        ("id,sku,prompt\n1,2,a\n", "p.csv, line 1, column sku: id and sku mean the same: rename one of them"),
        ("prompt,Prompt\n1,2\n", "p.csv, line 1, column Prompt: prompt and Prompt mean the same"),
        ("prompt,size,size\n1,2,3\n", "p.csv, line 1, column size: two columns are named size"),
        ("prompt,label.\na,b\n", "p.csv, line 1, column label.: a label column needs the label's name"),
        ("prompt,options\na,b\n", "p.csv, line 1, column options: give each option its own column"),
        ("prompt,key\n", "p.csv contains no rows"),
        ("", "p.csv is empty"),
        ("prompt\na\x00b\n", "p.csv, line 2, column 2: a NUL byte"),
        (
            "prompt\nfür die schöne Straße und ein großes Café\n".encode("cp1252"),
            "p.csv, line 2, column 2: the byte 0xfc is not UTF-8; it is probably Windows",
        ),
        ("prompt\nдва лиса на снегу\n".encode("cp1251"), "it is probably Windows-1251 (Cyrillic)"),
        ("prompt\n冬の狐と赤い家と美しい山\n".encode("cp932"), "it is probably Shift JIS (Japanese)"),
        ("prompt\na fox\n".encode("utf-16"), "p.csv, line 1, column 1: this is UTF-16 (Excel calls it Unicode text)"),
    ],
)
def test_a_file_that_is_none_is_refused_in_one_sentence(raw: str | bytes, told: str) -> None:
    said = refusal(raw)
    assert told in said
    assert "\n" not in said


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        ('key,prompt\n1,"a fox\n2,b\n', "line 2: a quote that is never closed"),
        ("key,prompt\n1,a\n2," + "x" * 1_000_000 + "\n", "line 3: a cell with more than 131,072 characters"),
        ('key,prompt\n1,"' + "a fox\n" * 100_000, "line 2: a cell with more than 131,072 characters, or a quote"),
    ],
)
def test_what_cannot_be_read_further_ends_the_file_with_one_fault(raw: str, told: str) -> None:
    _, faults = read_all("p.csv", raw)
    assert [sentence.startswith(told) for sentence in faults] == [True]


def test_a_table_without_prompts_may_have_no_header() -> None:
    with (
        open_batch_file("p.csv", io.BytesIO(b"a red fox,an owl\na cat,a dog\n")) as file,
        pytest.raises(RequestInvalid, match="no column is named prompt, only a red fox, an owl: the first line must"),
    ):
        file.require_prompts()


def test_a_template_may_surround_the_lines_of_a_text_file() -> None:
    entries, _ = read_all("p.txt", "a {red} fox\nan owl\n", template="{prompt} --ar {1:1, 2:3}")
    assert [entry.prompt for entry in entries] == [
        "a {red} fox --ar 1:1",
        "a {red} fox --ar 2:3",
        "an owl --ar 1:1",
        "an owl --ar 2:3",
    ]


def test_the_copy_is_private_and_can_be_read_by_several_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with open_batch_file("p.csv", io.BytesIO(b"key,prompt\n" + b"".join(b"%d,a\n" % n for n in range(1000)))) as file:
        assert list(tmp_path.iterdir()) == []
        assert os.fstat(file._spool.descriptor).st_mode & 0o777 == 0o600
        pairs = list(zip(file.rows(), file.rows(), strict=True))
    assert all(one == other for one, other in pairs)
    assert len(pairs) == 1000


def test_a_disk_without_room_is_an_error_and_no_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "missing"))
    with pytest.raises(DarkroomError, match=r"p\.csv cannot be copied to .*missing: No such file"):
        open_batch_file("p.csv", io.BytesIO(b"prompt\na\n"))


@pytest.mark.parametrize("key", ["4e12", "0E0", "1E5", "0E+12", "1E+1"])
def test_a_key_that_only_resembles_a_shortened_number_is_kept(key: str) -> None:
    ((entry,), faults) = read_all("p.csv", f"sku,prompt\n{key},a fox\n")
    assert (entry.key, faults) == (key, [])
