"""How the pretend Kie tells of its results: records, callbacks with their signature, files and download links."""

import base64
import hashlib
import hmac
import json
import time
from datetime import datetime
from urllib.parse import parse_qs, urlsplit

import pytest
import urllib3

from tests.webhook.sandbox.helpers import Client, Receiver, open_picture, payload, receiving, shape, until
from tests.webhook.sandbox.kie_client import KieClient
from webhook.sandbox import Sandbox, running


@pytest.fixture
def kie(client: Client) -> KieClient:
    return KieClient(client)


# --- records ---


def test_a_running_task_is_at_first_not_found_and_then_generating(http: urllib3.PoolManager):
    with running(delay=30) as sandbox:
        kie = KieClient(Client(sandbox.url, http))
        tasks = [kie.submit("mj/generate", taskType="mj_txt2img", prompt="tiny: x") for _ in range(2)]
        unknown = {"code": 422, "msg": "recordInfo is null", "data": None}
        assert [kie.record(task_id) for task_id in tasks] == [unknown, unknown | {"code": 404}]
        record = kie.record(tasks[0])
        assert shape(record) == shape(payload("record_info_generating.json", "kie"))
        assert record["data"]["successFlag"] == 0


def test_a_finished_record_has_the_documented_shape_and_every_second_time_that_of_third_parties(kie: KieClient):
    task_id = kie.made("tiny: a fox", callBackUrl="http://127.0.0.1:9/nobody", version="7")
    records = [kie.record(task_id) for _ in range(4)]
    documented = payload("record_info_success.json", "kie")
    assert shape(records[0]) == shape(documented)
    assert list(records[0]["data"]) == list(documented["data"])
    assert (records[0]["data"]["successFlag"], len(records[0]["data"]["resultInfoJson"]["resultUrls"])) == (1, 4)
    assert records[0] == records[2]
    assert records[1] == records[3]
    assert (records[1]["code"], records[1]["data"]["successFlag"]) == ("200", "1")
    assert json.loads(records[1]["data"]["resultInfoJson"]) == records[0]["data"]["resultInfoJson"]


def test_a_record_echoes_what_was_asked(kie: KieClient):
    before = int(time.time())
    example = payload("record_info_success.json", "kie")["data"]
    asked = json.loads(example["paramJson"]) | {"speed": "relaxed", "callBackUrl": "http://127.0.0.1:9/nobody"}
    record = kie.record(kie.made(**asked))["data"]
    assert json.loads(record["paramJson"]) == asked
    assert record["taskType"] == example["taskType"]
    created = datetime.strptime(record["createTime"], "%Y-%m-%dT%H:%M:%S%z").timestamp()
    assert before <= created <= time.time()


def test_failures_come_with_both_flags_and_both_codes(sandbox: Sandbox, kie: KieClient):
    tasks = [kie.made("tiny: x sandbox:fail") for _ in range(2)]
    first, _ = kie.record(tasks[0]), kie.record(tasks[0])
    second = kie.record(tasks[1])
    assert shape(first) == shape(payload("record_info_failed.json", "kie"))
    told = [(one["data"]["successFlag"], one["data"]["errorCode"]) for one in (first, second)]
    assert told == [(3, 500), (2, 501)]
    assert sandbox.bill()["charges"] == 0


def test_a_record_that_does_not_exist_or_is_not_named_is_a_422(kie: KieClient):
    assert kie.record("f" * 32) == {"code": 422, "msg": "recordInfo is null", "data": None}
    assert kie.get("mj/record-info")["msg"] == "taskId is required"


@pytest.mark.parametrize("path", ["mj/record-info", "chat/credit"])
def test_a_query_needs_a_token(kie: KieClient, path: str):
    assert kie.get(path, token="Bearer invalid")["code"] == 401


def test_the_credit_falls_with_each_generation_that_succeeds(kie: KieClient):
    before = kie.get("chat/credit")
    assert shape(before) == shape(payload("credit_response.json", "kie"))
    kie.made()
    kie.made("tiny: x sandbox:fail")
    assert kie.get("chat/credit")["data"] == before["data"] - 1
    assert kie.get("chat/credit", token="Bearer used-up")["data"] == 0


# --- callbacks ---


def test_a_callback_has_links_as_plain_strings(kie: KieClient, receiver: Receiver):
    task_id = kie.made("tiny: a fox", callBackUrl=receiver.url)
    body = receiver.first()
    assert shape(body) == shape(payload("callback_mj_success.json", "kie"))
    assert body["data"]["taskId"] == task_id
    assert json.loads(body["data"]["promptJson"])["prompt"] == "tiny: a fox"
    assert body["data"]["resultUrls"] == kie.links(task_id)
    assert "X-Webhook-Signature" not in receiver.headers[0]


def test_a_failure_calls_back_with_another_code_and_no_links(kie: KieClient, receiver: Receiver):
    for count, code in enumerate([500, 501], 1):
        kie.made("tiny: x sandbox:fail", callBackUrl=receiver.url)
        until(lambda count=count: len(receiver.bodies) == count)
        assert shape(receiver.bodies[-1]) == shape(payload("callback_mj_failure.json", "kie"))
        assert receiver.bodies[-1]["code"] == code


def test_a_signature_covers_the_task_and_the_time(http: urllib3.PoolManager, receiver: Receiver):
    before = int(time.time())
    with running(delay=0, hmac_key="käse") as sandbox:
        task_id = KieClient(Client(sandbox.url, http)).made(callBackUrl=receiver.url)
        receiver.first()
    headers = receiver.headers[0]
    stamp = headers["X-Webhook-Timestamp"]
    assert before <= int(stamp) <= time.time()
    expected = hmac.new("käse".encode(), f"{task_id}.{stamp}".encode(), hashlib.sha256).digest()
    assert base64.b64decode(headers["X-Webhook-Signature"]) == expected


def test_a_callback_that_is_not_answered_with_200_is_tried_three_more_times(sandbox: Sandbox, kie: KieClient):
    with receiving(statuses=(500, 204, 302, 503, 500)) as receiver:
        kie.made(callBackUrl=receiver.url)
        until(lambda: len(receiver.bodies) == 4)
        time.sleep(0.5)
    assert len(receiver.bodies) == 4
    assert [entry["status"] for entry in sandbox.log("callback")] == [500, 204, 302, 503]


# --- files ---


@pytest.mark.parametrize("kind", ["generate", "vary"])
def test_a_generation_is_four_different_jpegs(kie: KieClient, kind: str):
    task_id = kie.made("a fox")
    if kind == "vary":
        task_id = kie.finished(kie.submit("mj/generateVary", taskId=task_id, imageIndex=1))
    answers = [kie.client.get(link) for link in kie.links(task_id)]
    assert [answer.headers["Content-Type"] for answer in answers] == ["image/jpeg"] * 4
    assert {(open_picture(answer.data).format, open_picture(answer.data).size) for answer in answers} == {
        ("JPEG", (64, 64))
    }
    assert len({answer.data for answer in answers}) == 4


def test_links_are_bare_and_named_as_in_the_example(kie: KieClient):
    first, *_, last = kie.links(kie.made())
    documented = payload("record_info_success.json", "kie")["data"]["resultInfoJson"]["resultUrls"]
    assert urlsplit(first).path[35:] == urlsplit(documented[0]["resultUrl"]).path[35:] == "_0_0.jpeg"
    assert len(first) == len(kie.client.url) + len("/v/") + 32 + len("_0_0.jpeg")
    assert last == first.replace("_0_0", "_0_3")


def test_an_upscale_is_one_png_of_the_picture_with_that_index(kie: KieClient):
    parent = kie.made("a fox")
    four = [_middle(kie.client.get(link).data) for link in kie.links(parent)]
    for index in range(4):
        (link,) = kie.links(kie.finished(kie.submit("mj/generateUpscale", taskId=parent, imageIndex=index)))
        data = kie.client.get(link).data
        assert (open_picture(data).format, open_picture(data).size) == ("PNG", (128, 128))
        distances = [_distance(_middle(data), one) for one in four]
        assert distances.index(min(distances)) == index


@pytest.mark.parametrize(("kind", "count"), [("mj_video", 1), ("mj_video", 2), ("mj_video_hd", 4)])
def test_videos_are_as_many_as_asked_for(kie: KieClient, kind: str, count: int):
    links = kie.links(kie.video(taskType=kind, videoBatchSize=count))
    answers = [kie.client.get(link) for link in links]
    assert [answer.headers["Content-Type"] for answer in answers] == ["video/mp4"] * count
    assert {answer.data[4:8] for answer in answers} == {b"ftyp"}
    assert all(link.endswith(".mp4") for link in links)


def test_an_extension_is_one_video(kie: KieClient):
    task_id = kie.submit("mj/generateVideoExtend", taskType="mj_video_extend_auto", taskId=kie.video(), index=0)
    (link,) = kie.links(kie.finished(task_id))
    assert kie.client.get(link).data[4:8] == b"ftyp"


# --- download links ---


def test_a_download_link_lives_twenty_minutes(kie: KieClient):
    link = kie.links(kie.made())[1]
    answer = kie.post("common/download-url", {"url": link})
    assert shape(answer) == shape(payload("download_url_response_shape.json", "kie"))
    query = parse_qs(urlsplit(answer["data"]).query)
    assert int(query["ex"][0], 16) - int(query["is"][0], 16) == 1200
    assert kie.client.get(answer["data"]).data == kie.client.get(link).data


def test_a_download_link_works_when_the_bare_one_has_died(http: urllib3.PoolManager):
    with running(delay=0, link_life=0) as sandbox:
        kie = KieClient(Client(sandbox.url, http))
        link = kie.links(kie.made())[0]
        assert kie.client.get(link).status == 404
        assert kie.client.get(kie.post("common/download-url", {"url": link})["data"]).status == 200


def test_a_made_up_link_of_kies_gets_a_download_link_that_leads_nowhere(kie: KieClient):
    answer = kie.post("common/download-url", payload("download_url_request.json", "kie"))
    assert answer["code"] == 200
    assert kie.client.get(answer["data"]).status == 404


@pytest.mark.parametrize("url", ["https://example.com/x.png", "ftp://x/y", "http://[", "\ud800", 5, None])
def test_a_foreign_link_is_a_422(kie: KieClient, url: object):
    assert kie.post("common/download-url", {"url": url})["code"] == 422


def _middle(data: bytes) -> bytes:
    """Small and grey, without the writing above and below."""
    return open_picture(data).resize((64, 64)).crop((16, 16, 64, 40)).convert("L").tobytes()


def _distance(one: bytes, other: bytes) -> int:
    return sum(abs(a - b) for a, b in zip(one, other, strict=True))
