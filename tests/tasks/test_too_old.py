"""Workers of a version that is too old for the ledger: they begin nothing, show that they live, and say so once."""

import logging
from collections.abc import Iterator
from datetime import timedelta

import pytest

from tasks.notify import serve
from tasks.subscriptions import Subscription
from tasks.sweep import sweep
from tests import process_services
from tests.factories import LEASE, PROVIDER, archived, claimed, delivery, queued, submitted, succeeded
from tests.next_version import NEXT, need
from worker.celery import app
from worker.ledger import Ledger
from worker.ledger.database import REVISION, compatibility, system_clock
from worker.ledger.dispatch import Limits
from worker.ledger.events import DeliveryFilter
from worker.services import services
from worker.steps import Step
from worker.subscribers.subscribers import Webhook

SUBSCRIBER = "https://shop.example/hook"


@pytest.fixture
def ledger(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ledger]:
    monkeypatch.setenv("DATABASE_URL", sqlite_url)
    monkeypatch.setenv("DARKROOM_NOTIFY_URLS", SUBSCRIBER)
    monkeypatch.setenv("DARKROOM_NOTIFY_SECRET", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    monkeypatch.setattr("worker.celery._told_at", float("-inf"))
    monkeypatch.setattr(compatibility, "FRESH_SECONDS", 0)
    monkeypatch.setattr("worker.wakeup.send", lambda _: None)
    process_services.forget()
    yield services().ledger
    process_services.forget()


def make_everything_due(ledger: Ledger) -> set[str]:
    """It was left an hour ago. What is due for the clock is a submission whose worker has died."""
    ledger.database.clock = lambda: system_clock() - timedelta(hours=1)
    ledger.events.register_subscribers([SUBSCRIBER])
    archived(ledger, batch="complete", follow_up=("upscale1",))
    archived(ledger, batch="to be described")
    succeeded(ledger)
    (late,) = submitted(ledger)
    ledger.callbacks.store([delivery(late.attempt_id)])
    (lost,) = claimed(ledger)
    ledger.submissions.begin(lost.attempt_id)
    queued(ledger, 2)
    ledger.dispatch.run(PROVIDER, Limits(1, 1000))
    ledger.database.clock = system_clock
    return set(ledger.maintenance.due())


def test_no_task_begins_anything_and_together_they_say_so_once(ledger: Ledger, caplog: pytest.LogCaptureFixture):
    due = make_everything_due(ledger)
    # Thumbnails wait while anything more urgent is due.
    assert due == {step for step in Step if step.is_found_due} - {Step.THUMBNAIL}
    counts = ledger.generations.counts()
    # Or each would ask the bucket first.
    ledger.restore.verify_marker(None)
    need(ledger, NEXT)
    with caplog.at_level(logging.WARNING):
        app.loader.import_default_modules()
        for step in Step:
            app.tasks[step]()
    assert [record.levelname for record in caplog.records if "too old for its ledger" in record.message] == ["ERROR"]
    assert len(caplog.records) == 1
    need(ledger, REVISION)
    # They would write down whatever they do.
    assert (set(ledger.maintenance.due()), ledger.generations.counts()) == (due, counts)


def test_its_clock_is_not_said_to_hang(ledger: Ledger):
    need(ledger, NEXT)
    assert sweep.run()


def test_a_subscriber_is_left_to_newer_workers_at_once(ledger: Ledger):
    ledger.events.register_subscribers([SUBSCRIBER])
    submitted(ledger)
    (claim,) = ledger.events.claim([SUBSCRIBER], 1, LEASE)
    need(ledger, NEXT)
    serve(services(), Subscription(Webhook(SUBSCRIBER, SUBSCRIBER), ["*"], DeliveryFilter()), claim)
    need(ledger, REVISION)
    assert len(ledger.events.claim([SUBSCRIBER], 1, LEASE)) == 1
