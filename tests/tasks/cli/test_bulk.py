"""Commands for many generations say how many, and what they left alone and why."""

import json

import pytest

from tests.tasks.cli import stories
from tests.tasks.cli.conftest import Darkroom
from worker.generation import State
from worker.ledger import Ledger


@pytest.fixture
def shop(ledger: Ledger) -> str:
    """The id of a batch with one that was archived, one that failed, and three that wait, with keys."""
    stories.archived(ledger, batch="shop")
    batch_id = str(ledger.generations.newest_batch("shop"))
    stories.failed(ledger, batch_id=batch_id)
    for number in range(3):
        stories.queued(ledger, f"fox {number}", batch_id=batch_id, key=f"B-{number}")
    return batch_id


def test_a_cancelled_batch_is_one_line(darkroom: Darkroom, ledger: Ledger, shop: str) -> None:
    result = darkroom("cancel", "--batch", "shop")
    assert (result.exit_code, result.stdout) == (0, "3 cancelled; 2 left alone: 1 archived, 1 failed\n")
    again = darkroom("cancel", "--batch", shop)
    assert again.stdout == "0 cancelled; 5 left alone: 3 cancelled, 1 archived, 1 failed\n"


def test_half_a_batch_can_be_cancelled(darkroom: Darkroom, ledger: Ledger, shop: str) -> None:
    result = darkroom("cancel", "--batch", "shop", "--key", "B-[01]", "-v")
    lines = result.stdout.splitlines()
    assert lines[-1] == "2 cancelled"
    assert [line.split()[1:] for line in lines[:-1]] == [["cancelled"]] * 2
    assert ledger.generations.counts(shop)[State.QUEUED] == 1
    told = darkroom("cancel", "--batch", "shop", "--provider", "acedata", "--state", "queued", "--json").stdout
    assert [json.loads(line)["done"] for line in told.splitlines()] == [True]


def test_a_key_is_a_name(darkroom: Darkroom, shop: str) -> None:
    result = darkroom("cancel", "B-0", "B-1")
    assert [line.split()[1:] for line in result.stdout.splitlines()] == [["cancelled"], ["cancelled"]]
    assert "\n  key       B-0\n" in darkroom("show", "B-0").stdout


def test_a_retry_of_everything_must_be_meant(darkroom: Darkroom, ledger: Ledger, shop: str) -> None:
    result = darkroom("retry", "--failed")
    assert result.exit_code == 2
    assert "1 generations failed or expired: choose with --batch, --provider, --key or --label, or give --all" in (
        result.stderr
    )
    assert darkroom("retry", "--failed", "--all").stdout == "1 queued again\n"
    result = darkroom("retry", "--failed")
    assert (result.exit_code, result.stderr) == (0, "No failed or expired generations.\n")


def test_many_unconfirmed_are_resolved_at_once(darkroom: Darkroom, ledger: Ledger) -> None:
    unclear = [stories.unconfirmed(ledger, batch="shop")]
    unclear.append(stories.unconfirmed(ledger, batch_id=ledger.generations.newest_batch("shop")))
    result = darkroom("resolve", "--provider", "acedata", "--not-charged")
    assert result.stdout == "2 failed: not charged; `darkroom retry` submits it again\n"
    assert {one.state for one in ledger.generations.get(unclear)} == {State.FAILED}
    assert darkroom("resolve", "--batch", "shop", "--not-charged").stderr == "No matching generations.\n"


def test_two_batches_of_one_name_are_not_confused(darkroom: Darkroom, ledger: Ledger, shop: str) -> None:
    stories.queued(ledger, batch="shop")
    before = ledger.generations.counts()
    for command in (("cancel",), ("retry", "--failed")):
        result = darkroom(*command, "--batch", "shop")
        assert (result.exit_code, result.stdout) == (1, "")
        assert f"  {shop}  shop  5 generations" in result.stderr
    assert ledger.generations.counts() == before
    assert darkroom("cancel", "--batch", shop).stdout.startswith("3 cancelled")
