"""Tools with a ledger and a bucket of their own; wake-ups are recorded."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.mcp.tools import Tools
from tests import s3
from worker.ledger import Ledger
from worker.services import Services
from worker.settings.settings import load_settings


@pytest.fixture
def bells(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    rung: list[str] = []

    def ring(*steps: str) -> bool:
        rung.extend(steps)
        return True

    monkeypatch.setattr("tasks.mcp.tools.ring", ring)
    return rung


@pytest.fixture
def here(
    migrated_file: Path,
    sqlite_url: str,
    tmp_path: Path,
    rclone: s3.Server,
    monkeypatch: pytest.MonkeyPatch,
    bells: list[str],
) -> Iterator[Services]:
    s3.only_test_servers(monkeypatch, tmp_path)
    settings = {
        "DATABASE_URL": sqlite_url,
        "DARKROOM_DATA": str(tmp_path),
        "ACEDATACLOUD_API_TOKEN": "a-token-of-the-tests",
        **s3.bucket_of(rclone),
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    services = Services(load_settings())
    yield services
    services.close()


@pytest.fixture
def ledger(here: Services) -> Ledger:
    return here.ledger


@pytest.fixture
def tools(here: Services) -> Tools:
    return Tools(here)
