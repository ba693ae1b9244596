"""Use cases called as a front door calls them: with the services of this test, and no command line."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import s3
from worker.ledger import Ledger
from worker.services import Services
from worker.settings.settings import load_settings


@pytest.fixture
def settings_of_the_test(
    migrated_file: Path, sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> pytest.MonkeyPatch:
    monkeypatch.setenv("DATABASE_URL", sqlite_url)
    monkeypatch.setenv("DARKROOM_DATA", str(tmp_path))
    return monkeypatch


@pytest.fixture
def here(settings_of_the_test: pytest.MonkeyPatch) -> Iterator[Services]:
    """With a ledger of its own, and no bucket."""
    services = Services(load_settings())
    yield services
    services.close()


@pytest.fixture
def here_with_bucket(settings_of_the_test: pytest.MonkeyPatch, rclone: s3.Server, tmp_path: Path) -> Iterator[Services]:
    s3.use_bucket(settings_of_the_test, rclone, tmp_path)
    services = Services(load_settings())
    yield services
    services.close()


@pytest.fixture
def ledger(here: Services) -> Ledger:
    return here.ledger
