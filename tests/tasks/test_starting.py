"""The dispatch step starts batches whose time has come, and says so to nobody before."""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from tasks.dispatch import dispatch
from tests import process_services
from tests.clock import FakeClock
from tests.factories import queued
from worker.ledger import Ledger
from worker.services import services


@pytest.fixture
def ledger(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ledger]:
    monkeypatch.setenv("DATABASE_URL", sqlite_url)
    monkeypatch.setattr("tasks.dispatch.ring", lambda *_: True)
    process_services.forget()
    yield services().ledger
    process_services.forget()


def test_a_batch_goes_with_the_first_step_after_its_start(ledger: Ledger):
    ledger.database.clock = clock = FakeClock()
    batch_id = str(queued(ledger, 2, batch="later")[0].batch_id)
    ledger.batches.limit(batch_id, start_at=clock() + timedelta(minutes=5))
    dispatch.run()
    assert not ledger.maintenance.is_due("submit")
    clock.advance(minutes=5)
    dispatch.run()
    assert ledger.maintenance.is_due("submit")
