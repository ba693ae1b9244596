"""Events reach their subscribers: signed, in order, at least once, and no secret with them."""

import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from tasks.notify import notify
from tasks.sweep import sweep
from tests import process_services
from tests.broker import running_broker
from tests.clock import NOON, FakeClock
from tests.computer import eventually
from tests.factories import archived, failure, submitted
from tests.patience import patient
from tests.tasks.subscribing import Subscriber, subscriber
from tests.worker.subscribers.test_standard_webhooks import SECRET
from worker.celery import app
from worker.failures import REMEDIES, Category
from worker.ledger.database import system_clock
from worker.runtime import shutdown
from worker.services import Services, services
from worker.subscribers import posting

ROOT = Path(__file__).parents[2]
TOKEN = "token-of-the-subscriber"
LINK = "https://cdn.discordapp.com/attachments/1/2/fox.png?ex=66aa&is=66bb&hm=0123456789abcdef"
FLOW = ["generation.submitted", "generation.succeeded", "asset.archived", "generation.archived"]

Subscribe = Callable[..., list[Subscriber]]


@pytest.fixture
def bells(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    rung: list[str] = []
    monkeypatch.setattr("worker.wakeup.send", rung.extend)
    return rung


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, sqlite_url: str, clock: FakeClock) -> Iterator[Services]:
    """Services with the clock of the test; built when the test has set its settings."""
    monkeypatch.setenv("DATABASE_URL", sqlite_url)
    monkeypatch.setenv("DARKROOM_NOTIFY_SECRET", SECRET)
    process_services.tell_time(monkeypatch, clock)
    process_services.forget()
    yield LateServices()
    process_services.forget()


class LateServices:
    def __getattr__(self, name: str) -> Any:
        return getattr(services(), name)


@pytest.fixture
def subscribe(monkeypatch: pytest.MonkeyPatch, here: Services) -> Iterator[Subscribe]:
    """Start subscribers that answer so, and have the clock note them."""
    with ExitStack() as running:

        def start(*answers: Callable[[int], int]) -> list[Subscriber]:
            started = [running.enter_context(subscriber(answer)) for answer in answers or (lambda _: 204,)]
            monkeypatch.setenv("DARKROOM_NOTIFY_URLS", ",".join(one.url for one in started))
            process_services.forget()
            sweep()
            return started

        yield start


def first(status: int, times: int = 1) -> Callable[[int], int]:
    """This status so many times, and then success."""
    return lambda number: status if number < times else 204


def test_every_event_arrives_signed_and_in_order(here: Services, subscribe: Subscribe, bells: list[str]):
    (one,) = subscribe()
    ids = archived(here.ledger, 2, key=None)
    sweep()
    assert "notify" in bells
    notify()
    assert sorted(one.types) == sorted(FLOW * 2)
    assert all(received.is_genuine for received in one.received)
    assert len({received.id for received in one.received}) == 8
    numbers = [int(received.id.split("_")[1]) for received in one.received]
    assert numbers == sorted(numbers)
    assert {received.event["data"]["generation_id"] for received in one.received} == set(ids)
    assert all(received.headers["content-type"] == "application/json" for received in one.received)
    bells.clear()
    notify()
    sweep()
    assert (len(one.received), bells) == (8, [])


def test_a_worker_that_was_told_to_stop_leaves_the_next_event_to_others_at_once(
    here: Services, subscribe: Subscribe, bells: list[str], monkeypatch: pytest.MonkeyPatch
):
    (one,) = subscribe()
    archived(here.ledger)
    with monkeypatch.context() as patch:
        patch.setattr(shutdown, "is_asked", lambda: len(one.received) == 2)
        notify()
    assert one.types == FLOW[:2]
    assert "notify" in here.ledger.maintenance.due()
    notify()
    assert one.types == FLOW


def test_an_event_says_what_when_and_about_which_generation(here: Services, subscribe: Subscribe, bells: list[str]):
    (one,) = subscribe()
    (claim,) = submitted(here.ledger, key="fox-1")
    here.ledger.generations.apply_outcomes([failure(claim)])
    notify()
    received = one.received[-1]
    assert received.event == {
        "id": received.id,
        "type": "generation.failed",
        "timestamp": "2026-11-21T12:00:00.000000Z",
        "data": {
            "generation_id": claim.generation.id,
            "key": "fox-1",
            "root_key": "fox-1",
            "provider": "acedata",
            "operation": "imagine",
            "reason": "forbidden",
            "message": "the prompt is forbidden",
            "failure": {"category": "moderation", "remedy": REMEDIES[Category.MODERATION]},
        },
    }
    assert received.headers["webhook-timestamp"] == str(int(NOON.timestamp()))


def test_only_wanted_events_arrive(
    here: Services, subscribe: Subscribe, bells: list[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("DARKROOM_NOTIFY_EVENTS", "generation.archived,batch.*")
    (one,) = subscribe()
    archived(here.ledger, batch="animals")
    notify()
    assert one.types == ["generation.archived", "batch.completed"]


def test_what_was_refused_comes_again_under_the_same_id_with_a_new_signature(
    here: Services, subscribe: Subscribe, bells: list[str], clock: FakeClock
):
    (one,) = subscribe(first(503))
    archived(here.ledger)
    notify()
    notify()
    assert one.types == FLOW[:1]
    clock.advance(5)
    notify()
    assert one.types == FLOW[:1] + FLOW
    refused, taken = one.received[:2]
    assert refused.id == taken.id
    assert refused.body == taken.body
    assert int(taken.headers["webhook-timestamp"]) - int(refused.headers["webhook-timestamp"]) == 5
    assert refused.headers["webhook-signature"] != taken.headers["webhook-signature"]
    assert refused.is_genuine
    assert taken.is_genuine


def test_a_subscriber_that_hangs_holds_up_no_other(
    here: Services, subscribe: Subscribe, bells: list[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(posting, "PATIENCE", patient(0.3))

    def hang(_number: int) -> int:
        hanging.stopping.wait(patient(10))
        return 204

    hanging, fine = subscribe(hang, lambda _: 204)
    archived(here.ledger)
    notify()
    assert fine.types == FLOW
    assert hanging.types == FLOW[:1]


def test_an_answer_that_comes_too_late_is_none_and_its_event_comes_again(
    here: Services, subscribe: Subscribe, bells: list[str], clock: FakeClock, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(posting, "PATIENCE", patient(0.3))

    def late(number: int) -> int:
        if number == 0:
            one.stopping.wait(2 * posting.PATIENCE)
        return 204

    (one,) = subscribe(late)
    submitted(here.ledger)
    notify()
    clock.advance(5)
    notify()
    assert one.types == FLOW[:1] * 2
    assert len({received.id for received in one.received}) == 1


def test_what_a_redirect_leads_to_gets_nothing(here: Services, subscribe: Subscribe, bells: list[str]):
    (one,) = subscribe(lambda _: 307)
    archived(here.ledger)
    notify()
    assert one.types == FLOW[:1]


@pytest.mark.processes
def test_a_killed_worker_delivers_again_under_the_same_id(
    here: Services, subscribe: Subscribe, bells: list[str], clock: FakeClock
):
    """Killed while the subscriber has the event and the ledger does not know it."""

    def hold_the_first(number: int) -> int:
        if number == 0:
            one.stopping.wait(30)
        return 204

    (one,) = subscribe(hold_the_first)
    archived(here.ledger)
    program = "from worker.celery import app; app.loader.import_default_modules(); app.tasks['notify']()"
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "DARKROOM_NOTIFY_URLS": one.url}
    environment |= {name: os.environ[name] for name in ("DATABASE_URL", "DARKROOM_NOTIFY_SECRET")}
    with subprocess.Popen([sys.executable, "-c", program], env=environment) as doomed:
        eventually(lambda: len(one.received) == 1, seconds=20)
        doomed.kill()
    # The clock of the killed process was the real one.
    clock.now = system_clock()
    notify()
    assert one.types == FLOW[:1], "its lease still holds"
    clock.advance(60)
    notify()
    assert one.types == FLOW[:1] + FLOW
    assert one.received[0].id == one.received[1].id
    assert one.received[0].body == one.received[1].body


def test_no_secret_reaches_a_log_the_ledger_or_a_subscriber_who_must_not_know_it(
    here: Services, subscribe: Subscribe, bells: list[str], caplog: pytest.LogCaptureFixture, clock: FakeClock
):
    caplog.set_level(logging.DEBUG)
    (one,) = subscribe(first(500, times=2))
    (claim,) = submitted(here.ledger)
    here.ledger.generations.apply_outcomes([failure(claim, message=f"the picture {LINK} is not allowed")])
    for _ in range(4):
        notify()
        # Later events of a generation wait for its first.
        clock.advance(40)
    assert one.types[-1] == "generation.failed"
    with here.ledger.database.read() as connection:
        rows = [
            *connection.exec_driver_sql("SELECT * FROM subscribers"),
            *connection.exec_driver_sql("SELECT * FROM deliveries"),
        ]
    told = "".join(received.body.decode() for received in one.received)
    for secret in (TOKEN, SECRET, SECRET.removeprefix("whsec_"), "0123456789abcdef"):
        assert secret not in caplog.text
        assert secret not in str(rows)
        assert secret not in told
    assert "hm=[redacted]" in told


def test_a_subscriber_may_leave_while_it_is_served(
    here: Services, subscribe: Subscribe, bells: list[str], monkeypatch: pytest.MonkeyPatch
):
    subscribe()
    archived(here.ledger)
    monkeypatch.delenv("DARKROOM_NOTIFY_URLS")
    process_services.forget()
    notify()
    sweep()
    assert "notify" not in services().ledger.maintenance.due()


@pytest.fixture
def redis_url(tmp_path: Path) -> Iterator[str]:
    with running_broker(tmp_path) as url:
        yield url


@pytest.fixture
def our_broker(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    before = app.conf.broker_url

    def use(url: str) -> None:
        app.conf.broker_url = url

    yield use
    app.conf.broker_url = before


@pytest.mark.processes
def test_a_task_of_another_application_gets_the_event_by_its_name(
    here: Services, monkeypatch: pytest.MonkeyPatch, redis_url: str, our_broker: Callable[[str], None]
):
    """As any Celery application on the same broker would take it."""
    our_broker(redis_url)
    monkeypatch.setattr("worker.wakeup.ring", lambda *_: True)
    monkeypatch.setenv("DARKROOM_NOTIFY_TASKS", "billing.on_event, search.index@search")
    monkeypatch.setattr("tasks.sweep.ring", lambda *_: True)
    sweep()
    (generation_id,) = archived(here.ledger)
    notify()
    theirs = Celery("billing", broker=redis_url)
    with theirs.connection_for_read() as connection:
        for queue, task in (("celery", "billing.on_event"), ("search", "search.index")):
            taken = connection.SimpleQueue(queue)
            messages = [taken.get(timeout=patient(5)) for _ in FLOW]
            for message in messages:
                message.ack()
            assert {message.headers["task"] for message in messages} == {task}
            assert [message.payload[0][0]["type"] for message in messages] == FLOW
            assert messages[0].payload[0][0]["data"]["generation_id"] == generation_id
            assert all(message.headers["id"].startswith("evt_") for message in messages)
            assert len({message.headers["id"] for message in messages}) == 4
            taken.close()
    theirs.close()


def test_an_error_that_nobody_expected_of_the_broker_is_tried_again_later(
    here: Services, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("DARKROOM_NOTIFY_TASKS", "billing.on_event")
    monkeypatch.setattr("tasks.sweep.ring", lambda *_: True)
    sweep()
    archived(here.ledger)

    def nonsense(*_: object, **__: object) -> None:
        raise KeyError("nobody expects it")

    monkeypatch.setattr(app, "send_task", nonsense)
    notify()
    (waiting,) = here.ledger.events.failing_subscribers(lambda *_: True)
    assert (waiting.subscriber, waiting.failures) == ("billing.on_event", 1)
    assert waiting.error == "the broker refused it: 'nobody expects it'"


def test_a_broker_that_is_away_is_tried_again_later(
    here: Services, monkeypatch: pytest.MonkeyPatch, our_broker: Callable[[str], None], clock: FakeClock
):
    our_broker("redis://:hunter2hunter2@127.0.0.1:1/0")
    monkeypatch.setenv("DARKROOM_NOTIFY_TASKS", "billing.on_event")
    monkeypatch.setattr("tasks.sweep.ring", lambda *_: True)
    sweep()
    archived(here.ledger)
    for _ in range(10):
        notify()
        clock.advance(hours=6)
    (letter,) = [one for one in here.ledger.events.dead(10) if one.type == FLOW[0]]
    assert letter.tries == 10
    assert str(letter.error).startswith("the broker refused it: ")
    assert "hunter2" not in str(letter.error)
