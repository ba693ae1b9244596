"""`darkroom batch list|show|watch`: how batches stand, for people and for programs."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tasks.cli.ui import batch_progress, progress
from tasks.cli.ui.context import open_ledger
from tasks.usecases.batches import show
from tests.factories import new
from tests.tasks.cli import stories
from tests.tasks.cli.conftest import Darkroom
from worker.errors import LedgerUnavailable
from worker.generation import State
from worker.ledger import Ledger
from worker.ledger.generations import FileBatch, short_id

PRICES = "currency: EUR\nprices:\n  - {provider: acedata, price: 0.10}\ncaps: {batch: 25}\n"


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[Callable[[], object]]:
    """What happens before each further look, instead of waiting."""
    left: list[Callable[[], object]] = []

    def instead_of_waiting(*_: object) -> None:
        assert left, "it should have ended by now"
        left.pop(0)()

    monkeypatch.setattr(progress, "_wait", instead_of_waiting)
    return left


def shop(ledger: Ledger, **facts: Any) -> str:
    """A batch of four: one archived, one failed, two queued."""
    stories.archived(ledger, batch="shop", **facts)
    (done,) = ledger.generations.page()
    batch_id = str(done.batch_id)
    stories.failed(ledger, batch_id=batch_id)
    sheet = FileBatch(name="shop", id=batch_id, source="shop.csv", source_sha256="s")
    rows = [new(dedupe=f"batch:shop:{n}", row_number=n, row_sha256=str(n)) for n in (1, 2)]
    ledger.generations.write_rows(sheet, rows)
    return batch_id


def shown(darkroom: Darkroom, *arguments: str) -> dict[str, Any]:
    result = darkroom("batch", *arguments, "--json")
    assert result.exit_code == 0
    document: dict[str, Any] = json.loads(result.stdout)
    return document


def test_a_batch_is_shown_in_a_paragraph(
    darkroom: Darkroom, ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "prices.yaml").write_text(PRICES)
    monkeypatch.setenv("DARKROOM_PRICES", str(tmp_path / "prices.yaml"))
    batch_id = shop(ledger)
    for name in ("shop", batch_id, short_id(batch_id)):
        result = darkroom("batch", "show", name)
        first, counts, rate, spend, failed, *waits = result.stdout.splitlines()
        assert first.startswith(f"shop  {short_id(batch_id)}, from shop.csv, ")
        assert first.endswith(" old: running")
        assert counts == "2 of 4 done: 1 archived, 1 failed, 2 queued"
        assert " a minute lately, about " in rate
        assert spend == "spent 0.00 EUR of at most 25.00 EUR"
        assert failed == "failed: 1 forbidden"
        assert all(wait.startswith("waiting: ") for wait in waits)


def test_a_program_reads_counts_spend_and_the_time_that_is_left(darkroom: Darkroom, ledger: Ledger) -> None:
    batch_id = shop(ledger)
    document = shown(darkroom, "show", "shop")
    assert (document["id"], document["state"], document["total"], document["done"]) == (batch_id, "running", 4, 2)
    assert document["counts"] == dict.fromkeys(State, 0) | {"archived": 1, "failed": 1, "queued": 2}
    assert document["spend"] == {"known": "0.00", "possible": "0.00", "reserved": "0.00", "total": "0.00"}
    assert document["eta_seconds"] > 0
    assert document["failures"] == [{"state": "failed", "reason": "forbidden", "number": 1}]


def test_nothing_is_left_of_a_batch_that_is_complete(darkroom: Darkroom, ledger: Ledger) -> None:
    stories.archived(ledger, batch="shop")
    document = shown(darkroom, "show", "shop")
    assert (document["state"], document["eta_seconds"], document["at_risk"]) == ("complete", None, 0)
    assert darkroom("batch", "show", "shop").stdout.splitlines()[1] == "1 of 1 done: 1 archived"


def test_an_unknown_batch_is_an_error(darkroom: Darkroom, ledger: Ledger) -> None:
    for command in ("show", "watch"):
        result = darkroom("batch", command, "shop")
        assert result.exit_code == 1
        assert result.stderr.startswith("darkroom: there is no batch 'shop'")


def test_batches_are_listed_the_newest_first_a_page_at_a_time(
    darkroom: Darkroom, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert darkroom("batch", "list").stderr == "There are no batches yet.\n"
    monkeypatch.setattr(show, "_PAGE", 2)
    ids = [str(stories.queued(ledger, batch=f"b{number}")[0].batch_id) for number in range(5)][::-1]
    ledger.generations.cancel([one.id for one in ledger.generations.page(batch="b0")])
    lines = [line.split("\t") for line in darkroom("batch", "list").stdout.splitlines()]
    assert [(line[0], line[1]) for line in lines] == [(one, f"b{4 - n}") for n, one in enumerate(ids)]
    assert [line[3:] for line in (lines[0], lines[4])] == [
        ["running", "1 queued", ""],
        ["complete", "1 cancelled", ""],
    ]
    some = darkroom("batch", "list", "--limit", "3", "--json")
    assert [json.loads(line)["id"] for line in some.stdout.splitlines()] == ids[:3]
    assert some.stderr == "3 shown; there are more: --all or --limit N\n"
    assert len(darkroom("batch", "list", "--all").stdout.splitlines()) == 5


def test_how_a_person_steers_a_batch_is_shown(darkroom: Darkroom, ledger: Ledger) -> None:
    wanted = FileBatch(name="sheet", source="sheet.csv", source_sha256="s", max_in_flight=7)
    ledger.generations.write_rows(wanted, [new(dedupe="batch:sheet:1", row_number=1, row_sha256="1")])
    first = darkroom("batch", "show", "sheet").stdout.splitlines()[0]
    assert ", from sheet.csv, " in first
    assert first.endswith(" old: running, at most 7 at providers")


def test_a_watched_batch_ends_with_a_summary_and_with_1_if_something_failed(
    darkroom: Darkroom, ledger: Ledger, steps: list[Callable[[], object]]
) -> None:
    shop(ledger)
    steps.append(lambda: ledger.generations.cancel([one.id for one in ledger.generations.page(state=State.QUEUED)]))
    result = darkroom("batch", "watch", "shop")
    lines = result.stderr.splitlines()
    assert lines[1] == "2 of 4 done: 1 archived, 1 failed, 2 queued"
    assert lines[-2] == "4 of 4 done: 1 archived, 1 failed, 2 cancelled"
    assert lines[-1].startswith("1 archived, 1 failed, 2 cancelled, ")
    assert result.exit_code == 1


def test_a_watched_batch_of_which_nothing_failed_ends_with_0(darkroom: Darkroom, ledger: Ledger) -> None:
    stories.archived(ledger, batch="shop")
    result = darkroom("batch", "watch", "shop", "--json")
    assert result.exit_code == 0
    (line,) = result.stdout.splitlines()
    assert json.loads(line)["counts"]["archived"] == 1


@pytest.mark.parametrize("command", [("batch", "watch"), ("watch",)], ids=" ".join)
def test_a_ledger_that_is_away_is_told_of_once_and_waited_for(
    darkroom: Darkroom,
    ledger: Ledger,
    steps: list[Callable[[], object]],
    monkeypatch: pytest.MonkeyPatch,
    command: tuple[str, ...],
) -> None:
    (one,) = stories.queued(ledger, batch="shop")
    counts = type(ledger.generations).counts

    def away(*_: object) -> None:
        raise LedgerUnavailable("the ledger cannot be reached: connection refused")

    def goes() -> None:
        monkeypatch.setattr(type(ledger.generations), "counts", away)

    def comes() -> None:
        monkeypatch.setattr(type(ledger.generations), "counts", counts)
        ledger.generations.cancel([one.id])

    steps += [goes, lambda: None, lambda: None, comes]
    result = darkroom(*command, "shop")
    assert result.stderr.count("waiting for the ledger: the ledger cannot be reached: connection refused") == 1
    assert result.stderr.count("the ledger is back") == 1
    assert "1 cancelled" in result.stderr.splitlines()[-1]


def test_a_terminal_shows_a_bar_above_the_paragraph(darkroom: Darkroom, ledger: Ledger) -> None:
    shop(ledger)
    with open_ledger() as here:
        picture = batch_progress._picture(show.show_batch(here, "shop"))
    screen = Console(width=80, highlight=False, markup=False, emoji=False)
    with screen.capture() as capture:
        screen.print(picture)
    lines = capture.get().splitlines()
    assert lines[0].startswith("━")
    assert lines[2] == "2 of 4 done: 1 archived, 1 failed, 2 queued"
