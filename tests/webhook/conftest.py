"""A receiver inside the test's own process, on either kind of database, whose bells are recorded."""

import pytest
from flask import Flask

from tests.clock import FakeClock
from tests.webhook.serving import KEYS
from webhook.app import create_app
from worker.ledger import Ledger
from worker.services import Services
from worker.settings.settings import Settings


@pytest.fixture
def bells(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The kinds of work that were rung for."""
    rung: list[str] = []

    def ring(*kinds: str) -> bool:
        rung.extend(kinds)
        return True

    monkeypatch.setattr("webhook.app.ring", ring)
    return rung


@pytest.fixture
def app(ledger: Ledger, clock: FakeClock, bells: list[str]) -> Flask:
    return receiver(ledger, clock)


def receiver(ledger: Ledger, clock: FakeClock) -> Flask:
    services = Services(Settings(database_url=ledger.database.url, darkroom_signing_keys=KEYS), clock)  # type: ignore[arg-type]
    # The same ledger object: whoever opened it closes it.
    services.__dict__["ledger"] = ledger
    return create_app(services)
