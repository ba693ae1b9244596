"""The API inside the test's own process, over a ledger of its own, whose wake-ups are recorded."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from webhook.api.app import create_app
from worker.ledger import Ledger
from worker.services import Services
from worker.settings.settings import Settings


@pytest.fixture
def rung(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The steps that were woken, each at least once."""
    found: list[str] = []

    def ring(*steps: str) -> bool:
        found.extend(steps)
        return True

    monkeypatch.setattr("webhook.shared.ring", ring)
    return found


@pytest.fixture
def services_for(ledger: Ledger, tmp_path: Path) -> Callable[..., Services]:
    """Services with this test's ledger and more settings."""

    def build(**more: object) -> Services:
        facts: Mapping[str, object] = {
            "database_url": ledger.database.url,
            "darkroom_data": tmp_path,
            "acedatacloud_api_token": "secret",
            "kie_api_key": "secret",
        }
        here = Services(Settings(**{**facts, **more}), ledger.database.clock)  # type: ignore[arg-type]
        # The same ledger object: whoever opened it closes it.
        here.__dict__["ledger"] = ledger
        return here

    return build


@pytest.fixture
def app(services_for: Callable[..., Services], rung: list[str]) -> Flask:
    return create_app(services_for())


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()
