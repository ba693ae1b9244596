"""Use cases called as a front door calls them: with the services of this test, and no command line."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from worker.ledger import Ledger
from worker.services import Services
from worker.settings import load_settings


@pytest.fixture
def here(migrated_file: Path, sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Services]:
    monkeypatch.setenv("DATABASE_URL", sqlite_url)
    monkeypatch.setenv("DARKROOM_DATA", str(tmp_path))
    monkeypatch.setenv("ACEDATACLOUD_API_TOKEN", "a-token-of-the-tests")
    services = Services(load_settings())
    yield services
    services.close()


@pytest.fixture
def ledger(here: Services) -> Ledger:
    return here.ledger
