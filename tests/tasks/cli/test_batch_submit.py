"""`darkroom batch submit`: a sheet in, each row once."""

import csv
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.tasks.cli.conftest import Darkroom
from worker.errors import LedgerUnavailable
from worker.generation import State
from worker.ledger import Ledger

SHEET = "sku,prompt,colour\n0042,a fox,red\n0043,an owl,blue\n"


@pytest.fixture
def sheet(darkroom: Darkroom) -> Path:
    file = darkroom.data / "shop.csv"
    file.write_text(SHEET)
    return file


def submitted(darkroom: Darkroom, *arguments: str) -> dict[str, Any]:
    result = darkroom("batch", "submit", *arguments, "--json")
    assert result.exit_code == 0, result.stderr
    document: dict[str, Any] = json.loads(result.stdout)
    return document


def test_a_sheet_becomes_a_batch_that_is_named_after_it(darkroom: Darkroom, ledger: Ledger, sheet: Path) -> None:
    document = submitted(darkroom, str(sheet))
    assert {name: document[name] for name in ("name", "rows", "created", "existing", "invalid")} == {
        "name": "shop", "rows": 2, "created": 2, "existing": 0, "invalid": 0,
    }  # fmt: skip
    found = ledger.generations.page(batch="shop")[::-1]
    assert [(one.key, one.prompt, one.input["colour"], one.row_number) for one in found] == [
        ("0042", "a fox", "red", 1),
        ("0043", "an owl", "blue", 2),
    ]
    assert {one.batch_id for one in found} == {document["batch"]}
    assert darkroom.bells == ["dispatch"]


def test_the_same_sheet_again_says_that_nothing_is_new_and_wakes_nobody(darkroom: Darkroom, sheet: Path) -> None:
    darkroom("batch", "submit", str(sheet))
    darkroom.bells.clear()
    result = darkroom("batch", "submit", str(sheet), "--label", "client=acme", "--max-in-flight", "5")
    told = result.stderr.splitlines()
    assert told[1].startswith("0 new, 2 already in shop (")
    assert told[2] == "not applied to the existing batch: --max-in-flight 5 (the batch has none); --label client=acme"
    assert result.exit_code == 0
    assert darkroom.bells == []


def test_a_changed_row_is_refused_until_it_is_to_be_a_new_version(
    darkroom: Darkroom, ledger: Ledger, sheet: Path
) -> None:
    darkroom("batch", "submit", str(sheet))
    sheet.write_text(SHEET.replace("a fox,red", "a hare,red"))
    refused = darkroom("batch", "submit", str(sheet))
    assert refused.exit_code == 1
    assert "  row 1, key '0042': prompt: 'a fox' → 'a hare'\n" in refused.stderr
    assert ledger.generations.counts() == {State.QUEUED: 2}
    document = submitted(darkroom, str(sheet), "--new-version")
    assert (document["created"], document["existing"], document["new_versions"]) == (1, 1, 1)


def test_options_of_the_batch_and_of_its_rows_are_written(darkroom: Darkroom, ledger: Ledger, sheet: Path) -> None:
    prices = darkroom.data / "prices.yaml"
    prices.write_text("currency: EUR\nprices:\n  - {provider: acedata, price: 0.10}\n")
    options = ("--start-at", "2030-01-01T08:00Z", "--max-cost", "12.5", "--max-in-flight", "7", "--priority", "3")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DARKROOM_PRICES", str(prices))
        patch.setenv("KIE_API_KEY", "a-key-of-the-tests")
        document = submitted(darkroom, str(sheet), "--provider", "kie,acedata", *options)
    facts = ledger.generations.batch_facts(document["batch"])
    assert (facts.max_cost, facts.max_in_flight, facts.source) == (12_500_000, 7, "shop.csv")
    assert facts.start_at is not None
    assert facts.start_at.isoformat() == "2030-01-01T08:00:00+00:00"
    assert {(one.provider, one.providers, one.priority) for one in ledger.generations.page()} == {
        ("kie", ("acedata",), 3)
    }


@pytest.mark.parametrize("given", ["18:00", "2h", "2030-01-01 08:00"])
def test_a_start_is_given_to_submit_as_to_limit(darkroom: Darkroom, ledger: Ledger, sheet: Path, given: str) -> None:
    document = submitted(darkroom, str(sheet), "--start-at", given)
    facts = ledger.generations.batch_facts(document["batch"])
    assert facts.start_at is not None
    assert facts.start_at > datetime.now(UTC)


@pytest.mark.parametrize("name", ["a\udcff", "a\nb", "\x1b[2J"])
def test_a_name_that_cannot_be_shown_is_refused_before_anything_is_written(
    darkroom: Darkroom, ledger: Ledger, sheet: Path, name: str
) -> None:
    refused = darkroom("batch", "submit", str(sheet), "--name", name)
    assert refused.exit_code == 1
    assert "contains control characters or is not valid UTF-8: give another with --name" in refused.stderr
    assert ledger.generations.page() == []


@pytest.mark.parametrize("given", [("--key", "k\udcff"), ("--label", "client=\udcff")])
def test_a_key_or_label_that_is_no_text_is_refused_before_anything_is_written(
    darkroom: Darkroom, ledger: Ledger, sheet: Path, given: tuple[str, str]
) -> None:
    refused = darkroom("submit", "a fox", *given)
    assert refused.exit_code in {1, 2}
    assert "is not valid UTF-8: enter it again" in refused.stderr
    assert ledger.generations.page() == []


def test_more_in_flight_than_the_ledger_can_hold_is_refused(darkroom: Darkroom, ledger: Ledger, sheet: Path) -> None:
    assert darkroom("batch", "submit", str(sheet), "--max-in-flight", "3000000000").exit_code == 2
    assert ledger.generations.page() == []


@pytest.mark.parametrize("given", ["0.0000001", "NaN", "1e3", "-1", "0", "0.00", "much"])
def test_a_maximum_cost_is_an_amount_that_the_ledger_can_hold(
    darkroom: Darkroom, ledger: Ledger, sheet: Path, given: str
) -> None:
    refused = darkroom("batch", "submit", str(sheet), "--max-cost", given)
    assert refused.exit_code == 2
    assert "amount" in refused.stderr
    assert ledger.generations.page() == []


def test_a_template_makes_several_of_a_row(darkroom: Darkroom, ledger: Ledger, sheet: Path) -> None:
    document = submitted(darkroom, str(sheet), "--template", "{prompt} in {colour}, {day, night}")
    assert (document["rows"], document["created"]) == (2, 4)
    found = {one.key: (one.prompt, one.input["_choice"]) for one in ledger.generations.page()}
    assert found.keys() == {"0042/1", "0042/2", "0043/1", "0043/2"}
    assert found["0042/2"][0] == "a fox in red, night"
    assert submitted(darkroom, str(sheet), "--template", "{prompt} in {colour}, {day, night}")["existing"] == 4


def test_nothing_is_written_unless_all_rows_are_valid(darkroom: Darkroom, ledger: Ledger, sheet: Path) -> None:
    sheet.write_text(f"{SHEET}0044,,green\n0045,a cat,grey\n")
    refused = darkroom("batch", "submit", str(sheet))
    assert refused.exit_code == 1
    assert "darkroom: 1 of 4 rows is invalid:\n" in refused.stderr
    assert "nothing was written: correct them" in refused.stderr
    assert ledger.generations.page() == []


def test_invalid_rows_go_to_a_file_that_can_be_submitted_once_they_are_corrected(
    darkroom: Darkroom, ledger: Ledger, sheet: Path
) -> None:
    sheet.write_text(f"{SHEET}0044,,green\n")
    errors = darkroom.data / "errors.csv"
    result = darkroom("batch", "submit", str(sheet), "--skip-invalid", "--errors", str(errors))
    assert result.exit_code == 0
    assert "1 row invalid, not submitted" in result.stderr
    header, (key, prompt, colour, error) = csv.reader(errors.read_text().splitlines())
    assert (header, key, prompt, colour) == (["sku", "prompt", "colour", "error"], "0044", "", "green")
    assert "prompt" in error
    again = darkroom("batch", "submit", str(sheet), "--skip-invalid", "--errors", str(errors))
    assert again.exit_code == 1
    assert "it already exists; nothing was submitted" in again.stderr
    errors.write_text(errors.read_text().replace("0044,,", "0044,a hare,"))
    document = submitted(darkroom, str(errors), "--name", "shop")
    assert (document["created"], document["existing"]) == (1, 0)
    sheet.write_text(f"{SHEET}0044,a hare,green\n")
    assert submitted(darkroom, str(sheet))["existing"] == 3


def test_a_dry_run_says_what_would_be_written_and_writes_nothing(
    darkroom: Darkroom, ledger: Ledger, sheet: Path
) -> None:
    document = submitted(darkroom, str(sheet), "--dry-run")
    assert (document["batch"], document["created"], document["dry_run"]) == (None, 2, True)
    assert ledger.generations.page() == []
    assert darkroom.bells == []


def test_the_same_file_under_another_name_names_the_earlier_batch(darkroom: Darkroom, sheet: Path) -> None:
    first = submitted(darkroom, str(sheet))
    result = darkroom("batch", "submit", str(sheet), "--name", "again")
    assert "the same file was submitted before as shop (" in result.stderr
    assert "); again is another batch\n" in result.stderr
    assert submitted(darkroom, str(sheet), "--name", "third")["same_file_as"][1] == {
        "batch": first["batch"], "name": "shop",
    }  # fmt: skip


def test_standard_input_needs_a_name(darkroom: Darkroom, ledger: Ledger) -> None:
    refused = darkroom("batch", "submit", "-", input=SHEET)
    assert refused.exit_code == 2
    assert "standard input has no name: name the batch with --name" in refused.stderr
    assert darkroom("batch", "submit", "-", "--name", "shop", input=SHEET).exit_code == 0
    assert len(ledger.generations.page(batch="shop")) == 2


def test_a_ledger_that_goes_away_in_the_middle_is_told_with_what_to_do(
    darkroom: Darkroom, ledger: Ledger, sheet: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise LedgerUnavailable("the ledger cannot be reached")

    monkeypatch.setattr("tasks.usecases.submission.patience.PATIENCE", 0.01)
    with monkeypatch.context() as patch:
        patch.setattr(type(ledger.generations), "write_rows", away)
        result = darkroom("batch", "submit", str(sheet))
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1] == (
        "darkroom: the ledger cannot be reached; it may have been written in part: repeat this to complete it; "
        "no row is submitted twice"
    )
    assert submitted(darkroom, str(sheet))["created"] == 2
