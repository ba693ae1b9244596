"""Subscribers that people add, with real servers: what they get, and what is kept of their replies."""

# ruff: noqa: F811  fixtures of another module

import json
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import pytest
from redis import Redis
from standardwebhooks import Webhook

from tasks.delivering import STREAM_LENGTH
from tasks.notify import notify
from tasks.usecases.subscribers import AddRequest, Format, add_subscriber, rotate_secret, try_subscriber
from tests.broker import running_broker
from tests.clock import FakeClock
from tests.computer import eventually
from tests.factories import archived, failure, submitted
from tests.patience import patient
from tests.tasks.subscribing import Subscriber, subscriber
from tests.tasks.test_notify import FLOW, bells, here, our_broker  # noqa: F401
from worker.celery import app
from worker.ledger.database import system_clock
from worker.services import Services
from worker.subscribers import WebhookSigner

TOKEN = "token-of-the-subscriber"


@pytest.fixture
def listen() -> Iterator[Callable[..., Subscriber]]:
    with ExitStack() as running:
        yield lambda answer=lambda _: 204: running.enter_context(subscriber(answer))


@pytest.fixture
def redis_url(tmp_path: Path) -> Iterator[str]:
    with running_broker(tmp_path) as url:
        yield url


def add(here: Services, **how) -> str:
    """Its secret, or its name if it has none."""
    added = add_subscriber(here, AddRequest(by="me", **how))
    return added.secret or added.listed.name


@pytest.mark.usefixtures("bells")
def test_the_public_library_verifies_what_arrives_also_while_a_secret_is_replaced(
    here: Services,
    listen: Callable[..., Subscriber],
    clock: FakeClock,
):
    clock.now = system_clock()
    one = listen()
    old = add(here, url=one.url, name="shop")
    archived(here.ledger)
    notify()
    new = rotate_secret(here, "shop").secret
    assert new is not None
    archived(here.ledger)
    notify()
    assert one.types == FLOW * 2
    for received in one.received:
        assert Webhook(old).verify(received.body, received.headers) == received.event
    for received in one.received[len(FLOW) :]:
        Webhook(new).verify(received.body, received.headers)


def test_we_sign_as_the_public_library_does():
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    now = system_clock()
    ours = WebhookSigner(secret).headers("evt_1_1", int(now.timestamp()), '{"a":"ü"}'.encode())
    assert ours["webhook-signature"] == Webhook(secret).sign("evt_1_1", now, '{"a":"ü"}')
    assert Webhook(secret).verify('{"a":"ü"}', ours) == {"a": "ü"}


@pytest.mark.usefixtures("bells")
def test_each_gets_the_types_that_it_selects(here: Services, listen: Callable[..., Subscriber]):
    everything, failures = listen(), listen()
    add(here, url=everything.url)
    add(here, url=failures.url, types=["generation.failed"])
    (claim,) = submitted(here.ledger)
    here.ledger.generations.apply_outcomes([failure(claim)])
    notify()
    assert everything.types == ["generation.submitted", "generation.failed"]
    assert failures.types == ["generation.failed"]


@pytest.mark.usefixtures("bells")
def test_a_line_of_text_reaches_slack_and_mentions_nobody(
    here: Services,
    listen: Callable[..., Subscriber],
):
    one = listen()
    add(here, url=one.url, format=Format.SLACK, types=["generation.failed"])
    (claim,) = submitted(here.ledger, key="fox-1", batch="spring")
    here.ledger.generations.apply_outcomes([failure(claim, message="<!channel> is forbidden")])
    notify()
    assert [json.loads(received.body) for received in one.received] == [
        {"text": "generation.failed · fox-1 · spring: &lt;!channel&gt; is forbidden"}
    ]


@pytest.mark.usefixtures("bells")
def test_replies_are_kept_without_the_address(
    here: Services,
    listen: Callable[..., Subscriber],
    clock: FakeClock,
    caplog: pytest.LogCaptureFixture,
):
    caplog.set_level(logging.DEBUG)
    one = listen(lambda number: 500 if number == 0 else 200)
    one.reply = f"no such token: {TOKEN} {'x' * 500}".encode()
    secret = add(here, url=one.url, name="shop")
    archived(here.ledger)
    notify()
    clock.advance(5)
    notify()
    first = here.ledger.events.delivery_log("shop", 10)[-1]
    assert first.replies is not None
    assert [reply["status"] for reply in first.replies] == [500, 200]
    assert str(first.replies[0]["reply"]).startswith("no such token: [redacted] xxx")
    assert len(str(first.replies[0]["reply"])) <= 200
    assert TOKEN not in str(first.replies)
    for hidden in (TOKEN, secret, secret.removeprefix("whsec_")):
        assert hidden not in caplog.text


@pytest.mark.usefixtures("bells")
@pytest.mark.parametrize("status", [429, 503])
def test_the_wait_that_a_busy_subscriber_asks_for_is_honoured(
    here: Services,
    listen: Callable[..., Subscriber],
    clock: FakeClock,
    status: int,
):
    one = listen(lambda number: status if number == 0 else 200)
    one.headers = {"Retry-After": "600"}
    add(here, url=one.url)
    archived(here.ledger)
    notify()
    clock.advance(599)
    notify()
    assert one.types == FLOW[:1]
    clock.advance(1)
    notify()
    assert one.types == FLOW[:1] + FLOW


@pytest.mark.usefixtures("bells")
def test_410_disables_the_subscriber(here: Services, listen: Callable[..., Subscriber], clock: FakeClock):
    one = listen(lambda _: 410)
    add(here, url=one.url, name="shop")
    archived(here.ledger)
    notify()
    clock.advance(hours=24)
    notify()
    assert one.types == FLOW[:1]
    (row,) = here.ledger.events.known_subscribers()
    assert row.disabled_reason == "it accepts no more events (HTTP 410)"


@pytest.mark.usefixtures("bells")
def test_ten_that_hang_delay_no_other_whose_events_come_later(
    here: Services,
    listen: Callable[..., Subscriber],
    monkeypatch: pytest.MonkeyPatch,
):
    """By structure: the live one gets an event that was recorded while all the others hang, before any of them ends."""
    monkeypatch.setattr("worker.subscribers.posting.PATIENCE", patient(30))
    released = threading.Event()

    def hang(_number: int) -> int:
        released.wait(patient(30))
        return 204

    dead = [listen(hang) for _ in range(10)]
    for number, one in enumerate(dead):
        add(here, url=one.url, name=f"dead-{number}")
    live = listen()
    add(here, url=live.url, name="z-live")
    archived(here.ledger)
    working = threading.Thread(target=notify)
    working.start()
    try:
        # As many as a worker serves at once.
        eventually(lambda: sum(bool(one.received) for one in dead) >= 8, seconds=20)
        eventually(lambda: len(live.received) == len(FLOW), seconds=20)
        archived(here.ledger)
        eventually(lambda: len(live.received) == 2 * len(FLOW), seconds=20)
        assert working.is_alive()
        assert all(len(one.received) <= 1 for one in dead)
    finally:
        released.set()
        working.join()


@pytest.mark.processes
def test_a_stream_gets_every_event_and_keeps_the_newest(
    here: Services,
    monkeypatch: pytest.MonkeyPatch,
    redis_url: str,
    our_broker: Callable[[str], None],
    bells: list[str],
):
    our_broker(redis_url)
    assert add(here, stream="shop:events") == "stream:shop:events"
    assert add(here, stream=f"{redis_url}#other", name="other") == "other"
    monkeypatch.setattr("tasks.delivering.STREAM_LENGTH", 100)
    archived(here.ledger, 60)
    notify()
    with Redis.from_url(redis_url, decode_responses=True) as readers:
        for stream in ("shop:events", "other"):
            entries = readers.xrange(stream)
            # Approximate: whole nodes of the stream are dropped.
            assert 100 <= len(entries) < 240
            newest = entries[-1][1]
            assert json.loads(newest["event"])["id"] == newest["id"]
            assert newest["type"] == FLOW[-1]
    assert STREAM_LENGTH == 10_000


def test_a_redis_that_is_away_is_tried_again_later_and_its_password_stays_secret(here: Services, bells: list[str]):
    add(here, stream="redis://:hunter2hunter2@127.0.0.1:1/0#shop", name="shop")
    archived(here.ledger)
    notify()
    (failing,) = here.ledger.events.failing_subscribers(lambda *_: True)
    assert str(failing.error).startswith("Redis refused it: ")
    assert "hunter2" not in str(here.ledger.events.delivery_log("shop", 9))
    assert app.conf.broker_url


def test_a_test_shows_the_reply_and_is_no_event(here: Services, listen: Callable[..., Subscriber]):
    one = listen()
    one.reply = b"thanks"
    one.answer = lambda _: 200
    secret = add(here, url=one.url, name="shop", types=["batch.completed"])
    tried = try_subscriber(here, "shop", "generation.failed")
    assert (tried.status, tried.reply, tried.error) == (200, "thanks", None)
    (received,) = one.received
    assert received.event["test"] is True
    assert received.id == tried.event_id
    assert secret
    one.answer = lambda _: 500
    assert try_subscriber(here, "shop", "generation.failed").error == "HTTP 500"
    assert here.ledger.events.delivery_log("shop", 9) == []
    assert timedelta(seconds=tried.seconds) >= timedelta(0)
