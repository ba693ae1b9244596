"""OhMyGPT beyond the contract: how its tasks are read, and how they are asked for."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.worker.providers.dialects.ohmygpt import ACTIONS
from tests.worker.providers.loopback import Loopback, reply
from worker.errors import CallbackUnreadable, QueryFailed
from worker.generation import Link, Outcome, Status
from worker.providers import Mark
from worker.providers.ohmygpt import OhMyGPT
from worker.settings.settings import Settings

PAYLOADS = Path(__file__).parents[2] / "payloads" / "ohmygpt"
WEBHOOK = "https://studio.test/callbacks/ohmygpt/a1/k1.mac"
MARK = Mark("a1", WEBHOOK)
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
ALIVE = f"https://cdn.discordapp.com/attachments/1/2/cat.png?ex={int(NOW.timestamp()) + 60:x}&is=1&hm=5igned"
DEAD = f"https://cdn.discordapp.com/attachments/1/2/cat.png?ex={int(NOW.timestamp()) - 60:x}&is=1&hm=5igned"
STORED = "https://objects.ohmygpt.com/mj/20.png"


def vendor(url: str = "http://127.0.0.1:1") -> OhMyGPT:
    return OhMyGPT(Settings(ohmygpt_api_key="key", ohmygpt_base_url=url))


def task(**facts) -> dict:
    return {"taskId": 20, "taskType": "FAST", "status": "SUCCESS", "action": "IMAGINE", "progress": "100%", **facts}


def parse(**facts) -> Outcome:
    return vendor().parse_callback({}, json.dumps(task(**facts)).encode(), NOW)


# --- how tasks are read


def test_the_parent_keeps_its_buttons_and_its_pool():
    outcome = vendor().parse_callback({}, (PAYLOADS / "query_success.json").read_bytes(), NOW)

    assert outcome.actions == ("upscale1",)
    assert outcome.parent == {
        "task_id": "20",
        "upscale1": "MJ::JOB::upsample::1::0b33153d-f3c4-486b-9b4a-TRUNCATED_IN_SOURCE",
        "pool": "NORMAL",
    }


def test_a_button_that_asks_for_a_prompt_is_not_offered():
    outcome = parse(imageDcUrl=ALIVE, actions=[{"customId": ACTIONS[word]} for word in ("zoom_custom", "square")])

    assert outcome.actions == ("square",)
    assert "zoom_custom" not in outcome.parent


@pytest.mark.parametrize(
    ("links", "archived"),
    [
        ({"imageDcUrl": ALIVE, "imageS3Url": STORED}, ALIVE),
        ({"imageDcUrl": DEAD, "imageS3Url": STORED}, STORED),
        ({"imageDcUrl": DEAD, "imageS3Url": None}, DEAD),
        ({"imageDcUrl": None, "imageS3Url": STORED}, STORED),
    ],
)
def test_one_picture_is_archived_from_the_link_that_lives(links, archived):
    assert parse(**links).links == (Link(archived),)


def test_a_description_is_the_text_and_not_the_picture():
    outcome = parse(action="DESCRIBE", imageDcUrl=ALIVE, prompt="1️⃣ a cat --ar 5:4\n\n2️⃣ 3 dogs\nasleep")

    assert outcome.text == {"descriptions": ["a cat --ar 5:4", "3 dogs asleep"]}
    assert outcome.links == ()


@pytest.mark.parametrize("status", ["NOT_START", "SUBMITTED", "IN_PROGRESS", "in_progress", "", None])
def test_a_task_on_its_way_has_progress_and_no_result(status):
    assert parse(status=status, progress="46%", imageDcUrl=ALIVE) == Outcome(
        status=Status.IN_PROGRESS, task_id="20", progress=46
    )


def test_an_unknown_status_is_in_progress_with_a_warning(caplog):
    assert parse(status="PONDERING").status is Status.IN_PROGRESS
    assert "unknown status PONDERING" in caplog.text


@pytest.mark.parametrize("status", ["FAILURE", "FAILED"])
def test_a_failure_keeps_the_vendors_words(status):
    outcome = parse(status=status, progress="", failReason="Invalid parameter")

    assert outcome == Outcome(status=Status.FAILED, task_id="20", reason="failed", message="Invalid parameter")


@pytest.mark.parametrize(
    "facts", [{}, {"imageDcUrl": 5}, {"imageDcUrl": "ftp://a.test/"}, {"action": "DESCRIBE", "prompt": " \n"}]
)
def test_a_success_without_a_usable_result_is_put_before_a_person(facts):
    with pytest.raises(CallbackUnreadable):
        parse(**facts)


def test_an_envelope_without_a_task_is_put_before_a_person():
    with pytest.raises(CallbackUnreadable, match="no status"):
        vendor().parse_callback({}, b'{"statusCode": 400, "message": "x", "data": null}', NOW)


# --- how they are asked for


def test_a_query_sends_the_fields_of_the_vendors_example():
    with Loopback(reply(200, (PAYLOADS / "query_success.json").read_bytes())) as server:
        outcomes = vendor(server.url).fetch(["20"])

    assert server.requests[0].startswith(b"POST /api/v1/ai/draw/mj/query ")
    assert server.bodies == [{"model": "midjourney", "taskId": "20"}]
    assert outcomes["20"].status is Status.SUCCEEDED


@pytest.mark.parametrize(
    "answer",
    [
        {"statusCode": 200, "data": None},
        {"statusCode": 404, "message": "x"},
        {"statusCode": 400, "message": "The task does not exist"},
        {"statusCode": 200, "data": task()},
    ],
)
def test_a_task_that_is_not_known_or_another_one_is_left_out(answer):
    with Loopback(reply(200, answer)) as server:
        assert vendor(server.url).fetch(["21"]) == {}


def test_a_finished_task_without_a_usable_link_stays_open_and_is_logged(caplog):
    with Loopback(reply(200, {"statusCode": 200, "data": task()})) as server:
        assert vendor(server.url).fetch(["20"]) == {"20": Outcome(status=Status.IN_PROGRESS, task_id="20")}

    assert "task 20 ended" in caplog.text


def page(*tasks) -> dict:
    return {"statusCode": 200, "message": "Success", "data": {"total": 99, "tasks": list(tasks)}}


def test_a_lost_submission_is_in_the_list_with_its_webhook():
    strangers = [None, 5, {}, task(webhookUrl=None), task(webhookUrl=f"{WEBHOOK}x")]
    ours = task(taskId=10**18 + 1, status="SUBMITTED", progress="0%", webhookUrl=WEBHOOK)
    with Loopback(reply(200, page(*strangers)), reply(200, page(ours)), reply(200, page())) as server:
        found = {one.marks: one.outcome for one in vendor(server.url).recent(NOW)}

    assert found[WEBHOOK,] == Outcome(status=Status.IN_PROGRESS, task_id=str(10**18 + 1), progress=0)
    pages = [request.split()[1] for request in server.requests]
    assert pages == [b"/api/v1/ai/draw/mj/query-mj-tasks?page=%d&pageSize=20" % number for number in (1, 2, 3)]


def test_a_list_that_is_none_is_a_failed_query():
    with Loopback(reply(200, {"statusCode": 200, "data": task()})) as server, pytest.raises(QueryFailed):
        list(vendor(server.url).recent(NOW))
