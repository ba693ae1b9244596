"""The step that lets generations go keeps to the file that DARKROOM_PRICES names."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.dispatch import dispatch
from tests import process_services
from tests.factories import queued
from worker.errors import ConfigurationError
from worker.ledger import Ledger


@pytest.fixture
def prices(sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    file = tmp_path / "prices.yaml"
    monkeypatch.setenv("DATABASE_URL", sqlite_url)
    monkeypatch.setenv("DARKROOM_PRICES", str(file))
    monkeypatch.setattr("tasks.dispatch.ring", lambda *_: True)
    process_services.forget()
    yield file
    process_services.forget()


def test_only_what_the_budget_has_room_for_goes(sqlite_url: str, prices: Path):
    prices.write_text("prices: [{provider: acedata, price: 0.5}]\ncaps: {day: 1.2}\n")
    ledger = Ledger(sqlite_url)
    queued(ledger, 5)
    dispatch.run()
    assert len([one for one in ledger.generations.page() if one.reason == "budget"]) == 3
    ledger.close()


def test_with_a_file_that_cannot_be_understood_nothing_goes(sqlite_url: str, prices: Path):
    prices.write_text("caps: {day: much}\n")
    ledger = Ledger(sqlite_url)
    queued(ledger)
    with pytest.raises(ConfigurationError, match="invalid amount 'much'"):
        dispatch.run()
    assert not ledger.maintenance.is_due("submit")
    ledger.close()
