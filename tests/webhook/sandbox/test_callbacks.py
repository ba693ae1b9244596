import threading
import time

import pytest
import urllib3

from tests.patience import patient
from tests.webhook.sandbox.helpers import Client, Receiver, payload, receiving, shape, until
from webhook.sandbox import Sandbox, running
from webhook.sandbox.callbacks import THREADS, Callbacks
from webhook.sandbox.journal import Journal


def test_a_success_is_called_back_once_in_the_documented_shape(sandbox: Sandbox, client: Client, receiver: Receiver):
    task_id = client.made("a red fox", callback_url=receiver.url)["task_id"]
    body = receiver.first()
    assert shape(body) == shape(payload("callback_imagine_success.json"))
    assert body["task_id"] == task_id
    assert body["progress"] == 100
    (entry,) = until(lambda: sandbox.log("callback"))
    assert entry["status"] == 200
    assert entry["task_id"] == task_id
    assert entry["url"] == receiver.url
    time.sleep(0.05)
    assert len(receiver.bodies) == 1


def test_a_failure_is_called_back_in_the_documented_shape_and_refunded(
    sandbox: Sandbox, client: Client, receiver: Receiver
):
    client.made("tiny: a fox sandbox:fail", callback_url=receiver.url)
    client.made("tiny: a cat sandbox:fail", callback_url=receiver.url)
    until(lambda: len(receiver.bodies) == 2)
    for body in receiver.bodies:
        assert shape(body) == shape(payload("callback_imagine_failure.json"))
        assert body["success"] is False
    assert {body["error"]["code"] for body in receiver.bodies} == {"bad_request", "api_error"}
    bill = sandbox.bill()
    assert bill["charges"] == 0
    assert [line["refunded"] for line in bill["lines"]] == [True, True]


def test_the_callback_comes_after_the_delay(http: urllib3.PoolManager, receiver: Receiver):
    with running(delay=patient(0.3)) as sandbox:
        began = time.monotonic()
        Client(sandbox.url, http).made(callback_url=receiver.url)
        assert receiver.bodies == []
        receiver.first()
        assert time.monotonic() - began >= 0.3


def test_ndjson_brings_progress_in_order_each_with_another_image(client: Client, receiver: Receiver):
    body = {"prompt": "tiny: a fox", "callback_url": receiver.url}
    client.post("/midjourney/imagine", body, Accept="application/x-ndjson")
    until(lambda: len(receiver.bodies) == 3)
    assert [body["progress"] for body in receiver.bodies] == [35, 75, 100]
    for body in receiver.bodies:
        assert shape(body) == shape(payload(f"callback_progress_{body['progress']}.json"))
        assert body["success"] is True
    assert len({body["image_id"] for body in receiver.bodies}) == 3


def test_progress_stays_in_order_however_slow_the_receiver_is(client: Client):
    with receiving(seconds=0.05) as receiver:
        body = {"prompt": "tiny: a fox", "callback_url": receiver.url}
        client.post("/midjourney/imagine", body, Accept="application/x-ndjson")
        until(lambda: len(receiver.bodies) == 3)
    assert [body["progress"] for body in receiver.bodies] == [35, 75, 100]


def test_intermediate_pictures_are_shown_until_the_generation_is_done(http: urllib3.PoolManager, receiver: Receiver):
    with running(delay=patient(0.6), size=256) as sandbox:
        client = Client(sandbox.url, http)
        body = {"prompt": "a fox", "callback_url": receiver.url}
        client.post("/midjourney/imagine", body, Accept="application/x-ndjson")
        link = receiver.first()["raw_image_url"]
        shown = client.get(link)
        assert shown.status == 200
        assert shown.headers["Content-Type"] == "image/webp"
        assert shown.data[8:12] == b"WEBP"
        until(lambda: len(receiver.bodies) == 3)
        assert client.get(link).status == 404


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/nobody", "http://nowhere.invalid./x", f"http://{'a' * 70}.x/"])
def test_a_callback_that_cannot_be_delivered_is_only_logged(sandbox: Sandbox, client: Client, url: str):
    client.made(callback_url=url)
    (entry,) = until(lambda: sandbox.log("callback"))
    assert entry["error"]
    assert "status" not in entry
    assert client.imagine().status == 200


def test_a_thread_starts_when_all_others_are_busy_and_so_many_at_most():
    callbacks = Callbacks(Journal())
    goes_on = threading.Event()
    began: list[str] = []

    def call() -> None:
        began.append(threading.current_thread().name)
        goes_on.wait()

    try:
        for number in range(THREADS + 5):
            callbacks.later(call)
            until(lambda number=number: len(began) == min(number + 1, THREADS))  # type: ignore[misc]
        assert len(set(began)) == THREADS
        goes_on.set()
        until(lambda: len(began) == THREADS + 5)
        assert len(set(began)) == THREADS
    finally:
        goes_on.set()
        callbacks.stop()


def test_an_idle_thread_is_used_again():
    callbacks = Callbacks(Journal())
    used: list[str] = []
    try:
        for number in range(5):
            callbacks.later(lambda: used.append(threading.current_thread().name))
            until(lambda number=number: callbacks._idle._value and len(used) > number)  # type: ignore[misc,attr-defined]
        assert len(set(used)) == 1
    finally:
        callbacks.stop()
