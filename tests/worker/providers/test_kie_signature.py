"""The signature of Kie.ai's callbacks: what is believed, and what it is worth."""

import base64
import hashlib
import hmac
import json
from typing import Any

import pytest

from tests.worker.providers.contract import NOW
from worker.errors import CallbackUnreadable
from worker.generation import Outcome, Status
from worker.providers.kie import Kie
from worker.settings.settings import Settings

KEY = "whk_5f0c2b7d"
THEN = str(int(NOW.timestamp()))


def kie(**more: Any) -> Kie:
    return Kie(Settings(kie_api_key="tok", kie_webhook_hmac_key=KEY, kie_webhook_window=300, **more))


def signature(task_id: str = "t1", timestamp: str = THEN, key: str = KEY) -> str:
    digest = hmac.new(key.encode(), f"{task_id}.{timestamp}".encode(), hashlib.sha256).digest()
    return base64.b64encode(digest).decode()


def headers(signed: str | None = None, timestamp: str = THEN) -> dict[str, str]:
    return {
        "X-Webhook-Timestamp": timestamp,
        "X-Webhook-Signature": signature(timestamp=timestamp) if signed is None else signed,
    }


def parse(sent: dict[str, str], **body: Any) -> Outcome:
    body = body or {"data": {"taskId": "t1", "resultUrls": []}}
    return kie().parse_callback(sent, json.dumps({"code": 500, **body}).encode(), NOW)


def test_the_signature_is_the_one_of_the_vendors_page():
    """Computed with `printf t1.1700000000 | openssl dgst -sha256 -hmac whk_5f0c2b7d -binary | base64`."""
    assert signature(timestamp="1700000000") == "y3CwMVoxrHJjljxUrQsJdk3O/JmbvSfmCWL/ZjhjMPQ="


def test_a_good_signature_is_believed():
    assert parse(headers()).status is Status.FAILED


@pytest.mark.parametrize("other", ["whk_of_the_shop", "whk_of_the_archive"])
def test_each_of_several_keys_is_believed(other):
    vendor = Kie(Settings(kie_api_key="tok", kie_webhook_hmac_key=f"whk_of_the_shop, {KEY},whk_of_the_archive"))
    body = json.dumps({"code": 500, "data": {"taskId": "t1", "resultUrls": []}}).encode()
    for key in (KEY, other):
        assert vendor.parse_callback(headers(signature(key=key)), body, NOW).task_id == "t1"
    with pytest.raises(CallbackUnreadable, match="its signature is invalid"):
        vendor.parse_callback(headers(signature(key="whk_of_nobody")), body, NOW)


@pytest.mark.parametrize(
    "body",
    [
        {"data": {"taskId": "t1", "task_id": "t2"}, "taskId": "t2"},
        {"data": {"task_id": "t1"}, "taskId": "t2"},
        {"taskId": "t1", "task_id": "t2"},
        {"task_id": "t1"},
    ],
)
def test_it_is_about_the_task_that_the_callback_is_about(body):
    assert parse(headers(), **body).task_id == "t1"


@pytest.mark.parametrize("apart", [-300, 300])
def test_it_may_be_as_old_as_the_window(apart):
    assert parse(headers(timestamp=str(int(THEN) + apart)))


@pytest.mark.parametrize("apart", [-301, 301, -86_400])
def test_a_stale_one_is_refused(apart):
    with pytest.raises(
        CallbackUnreadable, match=f"arrived {abs(apart)} s from its signing time.*KIE_WEBHOOK_WINDOW.* 300 s"
    ):
        parse(headers(timestamp=str(int(THEN) + apart)))


@pytest.mark.parametrize(
    "sent",
    [
        {},
        {"X-Webhook-Timestamp": THEN},
        {"X-Webhook-Signature": signature()},
        headers(""),
    ],
)
def test_a_callback_without_one_is_refused(sent):
    with pytest.raises(CallbackUnreadable, match="not signed, but KIE_WEBHOOK_HMAC_KEY is set"):
        parse(sent)


@pytest.mark.parametrize(
    "signed",
    [
        signature("t2"),
        signature(timestamp=str(int(THEN) - 1)),
        signature(key="another"),
        signature().lower(),
        signature() + "=",
        "sn\N{SNOWMAN}wman",
        "\ud800",
        "x",
    ],
)
def test_a_wrong_one_is_refused(signed):
    with pytest.raises(CallbackUnreadable, match="signature is invalid"):
        parse(headers(signed))


def test_it_must_be_about_a_task():
    with pytest.raises(CallbackUnreadable, match="has no task id"):
        parse(headers(), data=None)


@pytest.mark.parametrize("timestamp", ["soon", "-5", "1.5", "\N{ARABIC-INDIC DIGIT ONE}", "9" * 400])
def test_its_time_must_be_a_number_of_seconds(timestamp):
    with pytest.raises(CallbackUnreadable, match="not a number of seconds"):
        parse(headers(timestamp=timestamp))


def test_no_refusal_shows_the_key_or_a_good_signature():
    for sent in ({}, headers("x"), headers(timestamp="1")):
        with pytest.raises(CallbackUnreadable) as caught:
            parse(sent)
        assert KEY not in str(caught.value)
        assert signature() not in str(caught.value)


def test_one_signature_is_one_proof():
    later = str(int(THEN) + 1)

    assert kie().proof(headers()) == kie().proof(headers())
    assert kie().proof(headers()) != kie().proof(headers(timestamp=later))
    assert kie().proof({}) is None


def test_without_a_key_nothing_is_checked_and_nothing_is_proven():
    vendor = Kie(Settings(kie_api_key="tok", kie_webhook_hmac_key=None))

    assert vendor.parse_callback(headers("x"), b'{"code": 500, "data": {"taskId": "t1"}}', NOW).task_id == "t1"
    assert vendor.proof(headers()) is None
