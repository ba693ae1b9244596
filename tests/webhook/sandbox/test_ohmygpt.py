import itertools
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
import urllib3
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.examples import examples
from tests.webhook.sandbox.helpers import PAYLOADS, Receiver, open_picture, payload, shape, until
from tests.webhook.sandbox.ohmygpt_client import PICTURE, PREFIX, OhMyGptClient, custom_id
from webhook.sandbox import Sandbox, running


@pytest.fixture
def omg(sandbox: Sandbox, http: urllib3.PoolManager) -> OhMyGptClient:
    return OhMyGptClient(sandbox.url, http)


@pytest.fixture(scope="module")
def strict() -> Iterator[OhMyGptClient]:
    """For requests that leave no trace, because they are refused."""
    with running(delay=0) as sandbox, urllib3.PoolManager() as http:
        yield OhMyGptClient(sandbox.url, http)


def documented(name: str) -> str:
    """A form of the documents, one field a line."""
    lines = Path(PAYLOADS, "ohmygpt", name).read_text(encoding="utf-8").splitlines()
    return "&".join(lines).replace(";", "%3B").replace(",", "%2C").replace(" ", "+")


# --- submissions ---


def test_the_documented_form_is_acknowledged_with_the_id_as_an_integer(omg: OhMyGptClient):
    answer = omg.form("imagine", documented("imagine_request.form.txt"))
    assert answer.status == 200
    assert shape(answer.json()) == shape(payload("imagine_response.json", "ohmygpt"))
    assert answer.json()["statusCode"] == 200
    task = omg.finished(answer.json()["data"])
    assert task["prompt"].startswith("chibi manga legend of vader")
    assert task["webhookUrl"].startswith("https://webhook.site/")


def test_json_is_accepted_as_well(omg: OhMyGptClient):
    body = {"model": "midjourney", "prompt": "tiny: a fox", "base64Array": [PICTURE], "webhook": "", "type": None}
    assert shape(omg.post(PREFIX + "imagine", body).json()) == shape(payload("imagine_response.json", "ohmygpt"))


def test_ids_count_upwards(omg: OhMyGptClient):
    first = omg.made()
    assert [omg.made(), omg.made()] == [first + 1, first + 2]


def test_a_large_picture_fits_into_a_form(omg: OhMyGptClient):
    assert omg.made("describe", base64=PICTURE + "A" * 3_000_000)


@pytest.mark.parametrize(
    ("path", "fields", "sentence"),
    [
        ("imagine", {"model": "", "prompt": "x"}, "model is required"),
        ("imagine", {"model": "gpt-4", "prompt": "x"}, "model must be one of midjourney"),
        ("imagine", {}, "prompt is required"),
        ("imagine", {"prompt": " "}, "prompt is required"),
        ("imagine", {"prompt": "x", "type": "TURBO"}, "type must be one of FAST, NORMAL"),
        ("imagine", {"prompt": "x", "webhook": "ftp://x"}, "webhook must be an http:// or https:// address"),
        ("imagine", {"prompt": "x", "base64Array": ["Ukxxx"]}, "base64Array must be a list of base64 data URLs"),
        ("imagine", {"prompt": "x sandbox:explode"}, "prompt: unknown knob 'explode'"),
        ("blend", {"base64Array": [PICTURE]}, "base64Array must have 2 to 5 images"),
        ("blend", {"base64Array": [PICTURE] * 6}, "base64Array must have 2 to 5 images"),
        ("blend", {"base64Array": [PICTURE] * 2, "dimensions": "ROUND"}, "dimensions must be one of LANDSCAPE,"),
        ("describe", {"base64": "https://x.example/a.png"}, "base64 must be a base64 data URL"),
        ("action", {"taskId": "1"}, "customId is required"),
        ("action", {"taskId": "1", "customId": "x"}, "The task does not exist"),
        ("query", {"taskId": "twenty"}, "taskId must be an integer"),
        ("query", {"taskId": "7"}, "The task does not exist"),
    ],
)
def test_wrong_requests_are_refused_in_the_body_and_cost_nothing(
    strict: OhMyGptClient, path: str, fields: dict[str, object], sentence: str
):
    answer = strict.told(path, **fields)
    assert answer["statusCode"] == 400
    assert answer["message"].startswith(sentence)
    assert strict.get("/sandbox/bill").json()["lines"] == []


@pytest.mark.parametrize(
    ("authorization", "status"), [("", 401), ("Basic x", 401), ("Bearer invalid", 401), ("Bearer used-up", 402)]
)
def test_tokens_are_refused(strict: OhMyGptClient, authorization: str, status: int):
    for path in ("imagine", "action", "blend", "describe", "query", "query-mj-tasks"):
        answer = strict.form(path, {"prompt": "x"}, Authorization=authorization)
        assert answer.status == answer.json()["statusCode"] == status


def test_other_paths_answer_in_the_envelope(omg: OhMyGptClient):
    answer = omg.form("paint", {})
    assert answer.status == answer.json()["statusCode"] == 404


# --- results and follow-ups ---


def test_a_finished_task_has_all_that_is_documented(omg: OhMyGptClient):
    task_id = omg.made(prompt="a red fox", webhook="http://127.0.0.1:9/x", type="NORMAL")
    omg.finished(task_id)
    answer = omg.told("query", taskId=task_id)
    expected = payload("query_success.json", "ohmygpt")
    assert shape(answer) == shape(expected)
    task = answer["data"]
    assert list(task) == list(expected["data"])
    assert (task["taskId"], task["taskType"], task["status"], task["action"]) == (
        task_id,
        "NORMAL",
        "SUCCESS",
        "IMAGINE",
    )
    assert task["progress"] == "100%"
    assert datetime.fromisoformat(task["submitTime"]) <= datetime.fromisoformat(task["finishTime"])
    assert [action["label"] for action in task["actions"]] == ["U1", "U2", "U3", "U4", "", "V1", "V2", "V3", "V4"]
    assert open_picture(omg.get(task["imageDcUrl"]).data).size == (128, 128)


def test_every_second_task_has_a_bare_link_to_the_object_storage(omg: OhMyGptClient):
    first, second = omg.grid(), omg.grid()
    assert first["imageS3Url"] is None
    assert "?" not in second["imageS3Url"]
    assert "ex=" in second["imageDcUrl"]
    assert omg.get(second["imageS3Url"]).data == omg.get(second["imageDcUrl"]).data


def test_an_upscale_offers_other_buttons_and_so_does_a_variation(omg: OhMyGptClient):
    grid = omg.grid()
    single = omg.pressed(grid, "::upsample::2::")
    assert single["action"] == "UPSCALE"
    for part in ("Outpaint::50", "Outpaint::75", "Outpaint::100", "Inpaint", "pan_left", "pan_right", "pan_up"):
        assert custom_id(single, part).endswith("::SOLO")
    for part in ("pan_down", "high_variation", "low_variation", "upsample_v6_2x_subtle", "upsample_v6_2x_creative"):
        assert omg.pressed(single, part)["status"] == "SUCCESS"
    again = omg.pressed(single, "high_variation")
    assert (again["action"], len(again["actions"])) == ("ACTION", 9)
    assert (omg.pressed(grid, "variation::3::"))["action"] == "VARIATION"
    assert (omg.pressed(grid, "reroll"))["action"] == "REROLL"


def test_only_buttons_of_the_finished_task_can_be_pressed(omg: OhMyGptClient):
    grid, other = omg.grid(), omg.grid()
    refused = omg.told("action", taskId=grid["taskId"], customId=custom_id(other, "upsample::1"))
    assert refused["message"] == "customId is not one of the task's actions"
    failed = omg.finished(omg.made(prompt="tiny: x sandbox:fail"))
    refused = omg.told("action", taskId=failed["taskId"], customId=custom_id(grid, "upsample::1"))
    assert refused["message"] == "The task has not succeeded"


def test_a_region_needs_its_mask(omg: OhMyGptClient):
    single = omg.pressed(omg.grid(), "upsample::1")
    region = {"taskId": single["taskId"], "customId": custom_id(single, "Inpaint")}
    assert omg.told("action", **region, base64Mask="")["message"] == "base64Mask is required for this action"
    assert omg.pressed(single, "Inpaint", base64Mask=PICTURE)["status"] == "SUCCESS"


def test_a_blend_is_a_grid(omg: OhMyGptClient):
    task = omg.finished(omg.made("blend", base64Array=[PICTURE] * 2, dimensions="PORTRAIT"))
    assert (task["action"], len(task["actions"])) == ("BLEND", 9)


def test_a_description_ends_in_the_prompt(omg: OhMyGptClient):
    task = omg.finished(omg.made("describe", base64=PICTURE))
    assert task["action"] == "DESCRIBE"
    assert task["prompt"].count("\n\n") == 3
    assert task["actions"] == []


# --- questions ---


def test_a_running_task_says_how_far_it_is(http: urllib3.PoolManager):
    with running(delay=30) as sandbox:
        omg = OhMyGptClient(sandbox.url, http)
        task = omg.task(omg.made())
    assert (task["status"], task["progress"]) == ("SUBMITTED", "0%")
    assert task["finishTime"] is task["imageDcUrl"] is task["failReason"] is None
    assert task["actions"] == []


def test_the_list_is_paged_and_newest_first(omg: OhMyGptClient):
    made = [omg.made(webhook=f"http://127.0.0.1:9/{number}") for number in range(7)]
    first = omg.told("query-mj-tasks?page=1&pageSize=5")["data"]
    second = omg.told("query-mj-tasks?page=2&pageSize=5")["data"]
    assert first["total"] == second["total"] == 7
    assert [task["taskId"] for task in first["tasks"] + second["tasks"]] == made[::-1]
    assert second["tasks"][-1]["webhookUrl"] == "http://127.0.0.1:9/0"


@pytest.mark.parametrize("page", ["page=0&pageSize=5", "page=1&pageSize=4", "page=1&pageSize=21", "page=one"])
def test_a_page_has_5_to_20_tasks(strict: OhMyGptClient, page: str):
    assert strict.told(f"query-mj-tasks?{page}")["statusCode"] == 400


def test_nobody_elses_tasks_are_found(omg: OhMyGptClient):
    omg.imagine(**{"async": True})
    assert omg.told("query-mj-tasks")["data"] == {"total": 0, "tasks": []}


# --- the webhook ---


def test_every_change_is_posted_as_a_flat_task(sandbox: Sandbox, omg: OhMyGptClient, receiver: Receiver):
    task_id = omg.made(prompt="a red fox", webhook=receiver.url)
    until(lambda: len(receiver.bodies) == 4)
    assert [(body["status"], body["progress"]) for body in receiver.bodies] == [
        ("SUBMITTED", "0%"),
        ("IN_PROGRESS", "35%"),
        ("IN_PROGRESS", "75%"),
        ("SUCCESS", "100%"),
    ]
    last = receiver.bodies[-1]
    assert shape(last) == shape(payload("webhook_success_guess.json", "ohmygpt"))
    assert (last["taskId"], last["webhookUrl"]) == (task_id, receiver.url)
    assert ".webp?" in receiver.bodies[1]["imageDcUrl"]
    assert sandbox.bill()["lines"][0]["provider"] == sandbox.log("submit")[0]["provider"] == "ohmygpt"


def test_every_fourth_task_is_posted_in_an_envelope(omg: OhMyGptClient, receiver: Receiver):
    made = [omg.made(webhook=receiver.url) for _ in range(4)]
    until(lambda: len(receiver.bodies) == 16)
    enveloped = [body for body in receiver.bodies if "data" in body]
    assert [(body["statusCode"], body["data"]["taskId"]) for body in enveloped] == [(200, made[3])] * 4


@given(
    st.sampled_from(["imagine", "action", "blend", "describe", "query"]),
    st.dictionaries(
        st.sampled_from(["model", "prompt", "taskId", "base64Array", "base64", "customId", "webhook", "type"]),
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.text()),
    ),
)
@settings(max_examples=examples(60))
def test_whatever_the_fields_hold_is_answered_in_the_envelope(omg: OhMyGptClient, path: str, body: dict[str, object]):
    for fields in itertools.chain([body], [body | {"model": "midjourney"}]):
        assert omg.post(PREFIX + path, fields).json()["statusCode"] in {200, 400}
