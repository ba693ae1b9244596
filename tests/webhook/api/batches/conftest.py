"""The API over a ledger of the test's own, whose wake-ups are recorded."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from tests.clock import FakeClock
from webhook.api.app import create_app
from worker.ledger import Ledger
from worker.services import Services
from worker.settings import load_settings


@pytest.fixture
def wakes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The steps that were woken."""
    woken: list[str] = []
    # At once, and not from a thread that sends those of half a second together.
    monkeypatch.setattr("webhook.shared.Shared.ring", lambda _, *steps: woken.extend(steps))
    return woken


@pytest.fixture
def here(
    migrated_file: Path, sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: FakeClock
) -> Iterator[Services]:
    monkeypatch.setenv("DATABASE_URL", sqlite_url)
    monkeypatch.setenv("DARKROOM_DATA", str(tmp_path))
    monkeypatch.setenv("ACEDATACLOUD_API_TOKEN", "token")
    services = Services(load_settings(), clock)
    yield services
    services.close()


@pytest.fixture
def ledger(here: Services) -> Ledger:
    return here.ledger


@pytest.fixture
def api(here: Services, wakes: list[str]) -> FlaskClient:
    return create_app(here).test_client()
