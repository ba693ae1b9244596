"""How each knob sounds at OhMyGPT; what it does to the course of a task is the same everywhere."""

import json

import pytest
import urllib3

from tests.webhook.sandbox.helpers import Receiver, payload, shape, until
from tests.webhook.sandbox.ohmygpt_client import OhMyGptClient
from webhook.sandbox import Sandbox


@pytest.fixture
def omg(sandbox: Sandbox, http: urllib3.PoolManager) -> OhMyGptClient:
    return OhMyGptClient(sandbox.url, http)


@pytest.mark.parametrize(
    ("knob", "status", "code", "message"),
    [
        ("too_many", 429, 429, "Too many requests"),
        ("unavailable", 503, 503, "Service unavailable"),
        ("error_before", 200, 400, "Internal Server Error"),
        ("reject", 200, 400, "The prompt may contain sensitive words"),
    ],
)
def test_a_refused_submission_costs_nothing(
    sandbox: Sandbox, omg: OhMyGptClient, knob: str, status: int, code: int, message: str
):
    answer = omg.form("imagine", {"prompt": f"tiny: x sandbox:{knob}"})
    assert answer.status == status
    assert answer.json() == {"statusCode": code, "message": message, "data": None}
    assert answer.headers.get("Retry-After") == ("1" if knob == "too_many" else None)
    assert sandbox.bill()["lines"] == []


def test_an_answer_that_goes_wrong_is_charged_and_can_be_found_by_its_webhook(
    sandbox: Sandbox, omg: OhMyGptClient, receiver: Receiver
):
    answer = omg.told("imagine", prompt="tiny: x sandbox:error_after", webhook=receiver.url)
    assert answer == {"statusCode": 400, "message": "Internal Server Error", "data": None}
    until(lambda: len(receiver.bodies) == 4)
    (task,) = omg.told("query-mj-tasks")["data"]["tasks"]
    assert task["webhookUrl"] == receiver.url
    assert sandbox.bill()["charges"] == 1


def test_no_task_id_answers_success_only(omg: OhMyGptClient):
    answer = omg.told("imagine", prompt="tiny: x sandbox:no_task_id")
    assert answer == {"statusCode": 200, "message": "Success"}


def test_garbled_answers_200_with_no_json(omg: OhMyGptClient):
    answer = omg.form("imagine", {"prompt": "tiny: x sandbox:garbled"})
    assert answer.status == 200
    with pytest.raises(json.JSONDecodeError):
        answer.json()


def test_a_failure_is_posted_and_refunded(sandbox: Sandbox, omg: OhMyGptClient, receiver: Receiver):
    omg.made(prompt="tiny: x sandbox:fail", webhook=receiver.url)
    last = until(lambda: receiver.bodies if len(receiver.bodies) == 4 else None)[-1]
    assert shape(last) == shape(payload("webhook_failure_guess.json", "ohmygpt"))
    assert last["failReason"].startswith("[Invalid parameter]")
    assert sandbox.bill()["charges"] == 0


def test_reorder_posts_the_stages_after_the_end(omg: OhMyGptClient, receiver: Receiver):
    omg.made(prompt="tiny: x sandbox:reorder", webhook=receiver.url)
    until(lambda: len(receiver.bodies) == 4)
    assert [body["status"] for body in receiver.bodies] == ["SUCCESS", "SUBMITTED", "IN_PROGRESS", "IN_PROGRESS"]
    assert [body["finishTime"] is None for body in receiver.bodies] == [False, True, True, True]


def test_drop_posts_nothing_and_the_query_knows(sandbox: Sandbox, omg: OhMyGptClient, receiver: Receiver):
    task_id = omg.made(prompt="tiny: x sandbox:drop", webhook=receiver.url)
    until(lambda: any(entry.get("error") == "dropped" for entry in sandbox.log("callback")))
    assert omg.task(task_id)["status"] == "SUCCESS"
    assert receiver.bodies == []


def test_dead_links_live_again_when_the_task_is_queried(omg: OhMyGptClient, receiver: Receiver):
    omg.made(webhook="http://127.0.0.1:9/")
    task_id = omg.made(prompt="tiny: x sandbox:dead_links", webhook=receiver.url)
    last = until(lambda: receiver.bodies if len(receiver.bodies) == 4 else None)[-1]
    assert [omg.get(last[name]).status for name in ("imageDcUrl", "imageS3Url")] == [404, 404]
    task = omg.task(task_id)
    assert [omg.get(task[name]).status for name in ("imageDcUrl", "imageS3Url")] == [200, 200]


def test_words_do_not_count_for_follow_ups(omg: OhMyGptClient):
    grid = omg.finished(omg.made(prompt="tiny: x sandbox:html"))
    assert omg.get(grid["imageDcUrl"]).data.startswith(b"<!doctype")
    single = omg.pressed(grid, "upsample::1")
    assert omg.get(single["imageDcUrl"]).data.startswith(b"\x89PNG")
