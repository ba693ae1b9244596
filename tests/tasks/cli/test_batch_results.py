"""`darkroom batch results` and `darkroom batch download`, as a person calls them."""

import csv
import io
import json
from pathlib import Path

import pytest

from tests.tasks.cli.conftest import Darkroom
from tests.tasks.usecases.batches.shop import a_shop, go, row, submit, succeed
from worker.archive.s3 import S3Archive
from worker.ledger import Ledger


def test_results_go_to_a_pipe_as_csv_without_a_byte_order_mark(darkroom: Darkroom, ledger: Ledger) -> None:
    a_shop(ledger, None)
    result = darkroom("batch", "results", "shop")
    assert result.exit_code == 0
    rows = list(csv.DictReader(io.StringIO(result.stdout, newline="")))
    assert [one["key"] for one in rows] == ["0041", "", "0042/1", "0042/2", "0043", "0044"]
    assert result.stderr == ""


def test_the_suffix_chooses_the_format_and_a_file_is_replaced_only_by_force(
    darkroom: Darkroom, ledger: Ledger, tmp_path: Path
) -> None:
    a_shop(ledger, None)
    path = tmp_path / "out.jsonl"
    result = darkroom("batch", "results", "shop", "--output", str(path))
    assert (result.exit_code, result.stderr) == (0, f"6 generations of shop written to {path}\n")
    assert json.loads(path.read_text().splitlines()[0])["key"] == "0041"
    path.write_text("mine")
    again = darkroom("batch", "results", "shop", "--output", str(path))
    assert (again.exit_code, path.read_text()) == (1, "mine")
    assert again.stderr == f"darkroom: {path} already exists, and was left unchanged\n"
    assert darkroom("batch", "results", "shop", "--output", str(path), "--force").exit_code == 0
    assert path.read_text().count("\n") == 6


def test_failing_rows_say_how_to_go_on(darkroom: Darkroom, ledger: Ledger, tmp_path: Path) -> None:
    a_shop(ledger, None)
    path = tmp_path / "errors.csv"
    result = darkroom("batch", "results", "shop", "--errors", str(path))
    assert result.stdout == ""
    assert result.stderr.splitlines() == [
        f"1 failing row written to {path}",
        f"to submit them corrected: darkroom batch submit {path} --name shop --new-version",
        "to submit them unchanged: darkroom batch retry shop",
    ]
    assert path.read_text(encoding="utf-8-sig").startswith("key,name,prompt,provider,operation,")


def test_a_contact_sheet_with_links_says_when_they_end(
    darkroom: Darkroom, ledger: Ledger, archive: S3Archive, tmp_path: Path
) -> None:
    a_shop(ledger, archive)
    path = tmp_path / "sheet.html"
    result = darkroom("batch", "results", "shop", "--output", str(path), "--links", "2d")
    assert result.exit_code == 0, result.output
    assert "links work until " in result.stderr
    assert path.read_text().count('<a href="http') == 4


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--format", "xlsx"], "--format xlsx needs --output FILE"),
        (
            ["--output", "out.txt"],
            "--output out.txt: give --format, or end the name with one of .csv, .jsonl, .json, .xlsx, .html",
        ),
        (["--errors", "errors.html"], "--errors errors.html: end the name with one of .csv, .jsonl, .xlsx"),
        (["--links", "8d"], "links work for at most 7 days: S3 does not sign links for longer"),
        (["--output", "a.csv", "--errors", "./a.csv"], "--output and --errors name the same file"),
    ],
)
def test_a_wrong_use_is_a_sentence_and_writes_nothing(
    darkroom: Darkroom, ledger: Ledger, tmp_path: Path, arguments: list[str], words: str
) -> None:
    a_shop(ledger, None)
    before = set(tmp_path.iterdir())
    result = darkroom("batch", "results", "shop", *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert words in " ".join(result.stderr.split())
    assert {path for path in tmp_path.iterdir() if path.name[:6] != "ledger"} <= before


def test_a_download_tells_what_it_did_and_does_nothing_twice(
    darkroom: Darkroom, ledger: Ledger, archive: S3Archive, tmp_path: Path
) -> None:
    a_shop(ledger, archive)
    folder = tmp_path / "images"
    result = darkroom("batch", "download", "shop", str(folder))
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith(f"4 results of shop in {folder}: 4 downloaded (")
    assert result.stderr == "2 still in progress: run the command again later for their results\n"
    (folder / "0041_1.png").write_bytes(b"mine")
    again = darkroom("batch", "download", "shop", str(folder), "--json")
    assert again.exit_code == 1
    told = json.loads(again.stdout)
    assert (told["files"], told["downloaded"], told["present"], told["under_way"]) == (4, 0, 3, 2)
    (problem,) = told["problems"]
    assert (problem["status"], problem["file"], problem["why"]) == ("left", "0041_1.png", "a different file is there")


def test_a_template_that_cannot_work_names_all_faults_and_writes_nothing(
    darkroom: Darkroom, ledger: Ledger, archive: S3Archive, tmp_path: Path
) -> None:
    submit(ledger, [row(1, "a", "one")])
    for claim in go(ledger).values():
        succeed(ledger, archive, claim, links=2)
    result = darkroom("batch", "download", "shop", str(tmp_path / "out"), "--name", "{sku}/{key}")
    assert result.exit_code == 1
    assert "{sku} is neither a field nor a column" in result.stderr
    assert "must end with .{ext}" in result.stderr
    result = darkroom("batch", "download", "shop", str(tmp_path / "out"), "--name", "{key}.{ext}")
    assert "a template that works is --name '{key}_{index}.{ext}'" in result.stderr
    assert not (tmp_path / "out").exists()
