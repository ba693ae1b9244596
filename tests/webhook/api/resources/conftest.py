"""The private process in the test's own, with a ledger, a bucket and a provider that has a key."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from tests import s3
from webhook.api.app import create_app
from worker.ledger import Ledger
from worker.services import Services
from worker.settings.settings import load_settings


@pytest.fixture
def settings_of_the_test(
    migrated_file: Path, sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> pytest.MonkeyPatch:
    monkeypatch.setenv("DATABASE_URL", sqlite_url)
    monkeypatch.setenv("DARKROOM_DATA", str(tmp_path))
    monkeypatch.setenv("ACEDATACLOUD_API_TOKEN", "a-token-of-the-tests")
    monkeypatch.setenv("MJPROXY_API_SECRET", "a-secret-of-the-tests")
    monkeypatch.setenv("MJPROXY_BASE_URL", "http://127.0.0.1:9")
    return monkeypatch


@pytest.fixture
def here(settings_of_the_test: pytest.MonkeyPatch, rclone: s3.Server, tmp_path: Path) -> Iterator[Services]:
    s3.use_bucket(settings_of_the_test, rclone, tmp_path)
    services = Services(load_settings())
    yield services
    services.close()


@pytest.fixture
def ledger(here: Services) -> Ledger:
    return here.ledger


@pytest.fixture
def api(here: Services) -> FlaskClient:
    return create_app(here).test_client()
