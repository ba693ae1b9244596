"""Addresses that submissions name, with a real receiver: each gets its own events, signed, whatever others do."""

# ruff: noqa: F811  fixtures of another module

import logging
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from standardwebhooks import Webhook

from tasks.notify import notify
from tasks.sweep import sweep
from tasks.usecases.create import create
from tasks.usecases.entry import Entry, Place
from tasks.usecases.submit import SubmitRequest, check, submit
from tests import process_services
from tests.clock import FakeClock
from tests.factories import LEASE, PLENTY, PROVIDER, accepted, failure
from tests.pipeline import Start, starting
from tests.s3 import Server
from tests.tasks.subscribing import Received, Subscriber, subscriber
from tests.tasks.test_notify import TOKEN, bells, here  # noqa: F401
from tests.worker.providers.loopback import refused_port
from tests.worker.subscribers.test_standard_webhooks import SECRET
from worker.ledger.changes import Changes
from worker.ledger.submission import Submitted
from worker.services import Services
from worker.subscribers import NotifyAddress

FLOW = ["generation.submitted", "generation.succeeded", "asset.archived", "generation.archived"]
FAILED = ["generation.submitted", "generation.failed"]

Listen = Callable[..., Subscriber]


@pytest.fixture
def listen(monkeypatch: pytest.MonkeyPatch) -> Iterator[Listen]:
    monkeypatch.setenv("DARKROOM_NOTIFY_ALLOW", "127.0.0.1")
    monkeypatch.setenv("ACEDATACLOUD_API_TOKEN", "a-token-of-the-tests")
    with ExitStack() as running:
        yield lambda answer=lambda _: 204: running.enter_context(subscriber(answer))


@pytest.fixture
def start_on(monkeypatch: pytest.MonkeyPatch, database_url: str, rclone: Server, tmp_path: Path) -> Iterator[Start]:
    with starting(monkeypatch, database_url, rclone, tmp_path) as starter:
        yield starter


def order(one: Subscriber, number: int) -> str:
    return f"{one.url}?order={number}"


def submitting(here: Services, *prompts: str, notify: str | None = None, **more: str) -> list[str]:
    entries = [Entry(place=Place(""), prompt=prompt, **more) for prompt in prompts]  # type: ignore[arg-type]
    request = SubmitRequest(entries=entries, notify=notify, is_batch=len(prompts) > 1)
    return [one.id for one in submit(here, check(here, request)).generations]


def sent_and_failed(here: Services, number: int) -> None:
    here.ledger.dispatch.run(PROVIDER, PLENTY)
    claims = here.ledger.submissions.claim(number, LEASE)
    assert len(claims) == number
    here.ledger.submissions.record([Submitted(one.attempt_id, accepted(one)) for one in claims], LEASE)
    here.ledger.generations.apply_outcomes([failure(one) for one in claims])


def of_order(one: Subscriber, number: int) -> list[Received]:
    return [received for received in one.received if received.path.endswith(f"?order={number}")]


def test_a_submission_hears_of_itself_and_its_follow_ups_signed_and_in_order_and_of_nobody_else(
    start_on: Start, monkeypatch: pytest.MonkeyPatch, listen: Listen
):
    monkeypatch.setenv("DARKROOM_NOTIFY_SECRET", SECRET)
    one, everybody = listen(), listen()
    monkeypatch.setenv("DARKROOM_NOTIFY_URLS", everybody.url)
    pipeline = start_on()
    (mine,) = submitting(pipeline.here, "two cats", notify=order(one, 1), follow_up="upscale1/zoom_out_2x")
    (neighbours,) = submitting(pipeline.here, "an owl")
    batch = submitting(pipeline.here, "a fox", "a crow", notify=order(one, 2))
    pipeline.bells.append("dispatch")
    pipeline.until_settled()
    for _ in range(2):
        pipeline.step("reconcile")
        pipeline.step("notify")

    family = {mine}
    for generation in pipeline.all():
        if generation.parent_id in family:
            family.add(generation.id)
    assert len(family) == 3
    first, second = of_order(one, 1), of_order(one, 2)
    assert len(first) + len(second) == len(one.received)
    assert {received.event["data"]["generation_id"] for received in first} == family
    for generation_id in family:
        of_it = [one.event["type"] for one in first if one.event["data"]["generation_id"] == generation_id]
        assert of_it == FLOW
    assert {received.event["data"].get("generation_id") for received in second} == {*batch, None}
    assert [received.event["type"] for received in second].count("batch.completed") == 1
    told = {received.id for received in one.received}
    others = [received.event["data"].get("generation_id") for received in everybody.received if received.id not in told]
    assert {neighbours} == {*others} - {None}
    # A receiver's time is the real one, and so is ours here.
    for received in one.received:
        assert Webhook(SECRET).verify(received.body, received.headers) == received.event
        assert TOKEN not in received.body.decode()
    assert all(TOKEN not in content.decode("utf-8", "replace") for content in pipeline.objects().values())


@pytest.mark.usefixtures("bells")
@pytest.mark.parametrize("status", [410, 500])
def test_one_address_of_a_host_that_takes_nothing_leaves_the_others_theirs(
    here: Services, listen: Listen, clock: FakeClock, status: int
):
    def answer(number: int) -> int:
        return status if one.received[number].path.endswith("order=1") else 204

    one = listen(answer)
    submitting(here, "a fox", notify=order(one, 1))
    submitting(here, "an owl", notify=order(one, 2))
    sent_and_failed(here, 2)
    for _ in range(8):
        notify()
        clock.advance(5)
    assert [received.event["type"] for received in of_order(one, 2)] == FAILED
    assert {received.event["type"] for received in of_order(one, 1)} == {"generation.submitted"}
    assert (len(of_order(one, 1)) == 1) == (status == 410)
    (row,) = here.ledger.events.known_subscribers()
    assert row.disabled_at is None


@pytest.mark.usefixtures("bells")
def test_hosts_that_are_gone_or_not_allowed_any_more_delay_nobody(
    here: Services, listen: Listen, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.DEBUG)
    one = listen()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DARKROOM_NOTIFY_ALLOW", "127.0.0.1,10.255.255.1")
        process_services.forget()
        submitting(here, "a fox", notify=f"https://10.255.255.1/hooks/{TOKEN}")
    process_services.forget()
    submitting(here, "a crow", notify=f"http://127.0.0.1:{refused_port()}/hooks/{TOKEN}")
    submitting(here, "an owl", notify=order(one, 2))
    sent_and_failed(here, 3)
    notify()
    assert [received.event["type"] for received in one.received] == FAILED
    forbidden, gone = here.ledger.events.failing_subscribers(lambda *_: False)
    assert str(forbidden.error).startswith("its address is not public: name its host and its address or network in ")
    assert gone.error == "it refuses the connection"
    assert TOKEN not in caplog.text


@pytest.mark.usefixtures("bells")
def test_a_name_that_leads_inside_by_now_is_not_connected_to(
    here: Services, listen: Listen, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    one = listen()
    # A name alone may use plain http, and opens no private address.
    monkeypatch.setenv("DARKROOM_NOTIFY_ALLOW", "rebind.example.com")
    address = one.url.replace("127.0.0.1", "rebind.example.com")
    submitting(here, "a fox", notify=address)
    sent_and_failed(here, 1)
    resolve = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda _, port, **how: resolve("127.0.0.1", port, **how))
    notify()
    assert one.received == []
    (troubled,) = here.ledger.events.failing_subscribers(lambda *_: False)
    assert str(troubled.error).startswith("its host name resolves to an address that is not public: add that address")
    assert TOKEN not in caplog.text


@pytest.mark.usefixtures("bells")
def test_without_a_secret_events_wait_for_it(
    here: Services, listen: Listen, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    one = listen()
    submitting(here, "a fox", notify=order(one, 1))
    sent_and_failed(here, 1)
    with monkeypatch.context() as patch:
        patch.delenv("DARKROOM_NOTIFY_SECRET")
        process_services.forget()
        sweep()
        notify()
    assert one.received == []
    assert "ERROR" not in {record.levelname for record in caplog.records}
    process_services.forget()
    notify()
    assert [received.event["type"] for received in one.received] == FAILED


@pytest.mark.usefixtures("bells")
def test_a_reply_is_kept_without_the_address_and_without_its_token(here: Services, listen: Listen):
    one = listen(lambda _: 500)
    one.reply = f"no such hook: /hooks/{TOKEN}?order=hunter2hunter2".encode()
    submitting(here, "a fox", notify=f"{one.url}?order=hunter2hunter2")
    sent_and_failed(here, 1)
    notify()
    (log, *_) = here.ledger.events.delivery_log(NotifyAddress(one.url).subscriber, 9)[::-1]
    assert log.replies
    assert log.replies[0]["status"] == 500
    assert TOKEN not in str(log.replies)
    assert "hunter2hunter2" not in str(log.replies)


@pytest.mark.usefixtures("bells")
def test_who_submits_gets_no_link_under_which_anybody_may_approve(
    here: Services, listen: Listen, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("CONSOLE_URL", "https://darkroom.example")
    monkeypatch.setenv("DARKROOM_SIGNING_KEYS", "k1:" + "k" * 32)
    one, operator = listen(), listen()
    monkeypatch.setenv("DARKROOM_NOTIFY_URLS", operator.url)
    (mine,) = submitting(here, "a fox", notify=order(one, 1))
    sweep()
    with here.ledger.database.write() as connection:
        changes = Changes(connection, here.clock())
        asked = {"approval": "apr_01a22359182c000000000f2b6c1e4a77", "step": "best", "images": [1, 2]}
        changes.event("generation.needs_approval", generation_id=mine, **asked)
        changes.flush()
    notify()
    (to_submitter,), (to_operator,) = ([received.event["data"] for received in to.received] for to in (one, operator))
    assert to_operator.pop("link").startswith("https://darkroom.example/approvals/apr_")
    assert to_submitter == to_operator


@pytest.mark.usefixtures("bells")
def test_a_message_of_another_application_may_name_one(here: Services, listen: Listen):
    one = listen()
    made = create(here, {"key": "order-17", "prompt": "a fox", "notify": order(one, 17)})
    assert TOKEN not in repr(made)
    sent_and_failed(here, 1)
    notify()
    assert [received.event["data"]["key"] for received in of_order(one, 17)] == ["order-17"] * 2
