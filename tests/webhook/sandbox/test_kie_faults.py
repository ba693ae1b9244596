"""The fault knobs in Kie's own words."""

import json

import pytest
import urllib3

from tests.patience import patient
from tests.webhook.sandbox.helpers import TOKEN, Client, Receiver, receiving, until
from tests.webhook.sandbox.kie_client import KieClient
from webhook.sandbox import Sandbox


@pytest.fixture
def kie(client: Client) -> KieClient:
    return KieClient(client)


@pytest.mark.parametrize(
    ("knob", "code"), [("too_many", 429), ("unavailable", 455), ("error_before", 500), ("reject", 400)]
)
def test_a_refusal_is_a_code_in_the_body_and_costs_nothing(sandbox: Sandbox, kie: KieClient, knob: str, code: int):
    sandbox.set_faults({knob: 1})
    assert kie.generate()["code"] == code
    (entry,) = sandbox.log("submit")
    assert (entry["provider"], entry["status"], entry["fault"]) == ("kie", 200, knob)
    assert sandbox.bill()["lines"] == []


@pytest.mark.parametrize("path", ["Upscale", "Vary"])
def test_follow_ups_have_no_prompt_but_are_refused_by_chance(sandbox: Sandbox, kie: KieClient, path: str):
    task_id = kie.made("tiny: x sandbox:html")
    sandbox.set_faults({"too_many": 1})
    assert kie.post(f"mj/generate{path}", {"taskId": task_id, "imageIndex": 1})["code"] == 429


def test_a_word_that_is_no_knob_is_refused(kie: KieClient):
    assert kie.generate("tiny: x sandbox:explode")["code"] == 422


@pytest.mark.parametrize("knob", ["error_after", "no_task_id", "garbled", "reset", "hang"])
def test_an_answer_goes_wrong_although_it_was_accepted(sandbox: Sandbox, client: Client, receiver: Receiver, knob: str):
    body = {"taskType": "mj_txt2img", "prompt": f"tiny: x sandbox:{knob}", "callBackUrl": receiver.url}
    url = f"{client.url}/api/v1/mj/generate"
    try:
        answer = client.http.request("POST", url, json=body, headers=TOKEN, retries=False, timeout=patient(0.5))
    except (urllib3.exceptions.ReadTimeoutError, urllib3.exceptions.ProtocolError) as error:
        told = type(error).__name__
    else:
        assert answer.status == 200
        try:
            told = answer.json()
        except json.JSONDecodeError:
            told = "not JSON"
    assert (
        told
        == {
            "error_after": {"code": 500, "msg": "Server error"},
            "no_task_id": {"code": 200, "msg": "success", "data": {}},
            "garbled": "not JSON",
            "reset": "ProtocolError",
            "hang": "ReadTimeoutError",
        }[knob]
    )
    assert receiver.first()["code"] == 200
    assert sandbox.bill()["charges"] == 1


def test_drop_sends_no_callback_and_tries_no_other(sandbox: Sandbox, kie: KieClient, receiver: Receiver):
    kie.made("tiny: x sandbox:drop", callBackUrl=receiver.url)
    (entry,) = until(lambda: sandbox.log("callback"))
    assert entry["error"] == "dropped"
    assert receiver.bodies == []


def test_duplicate_sends_it_three_times(kie: KieClient, receiver: Receiver):
    kie.made("tiny: x sandbox:duplicate", callBackUrl=receiver.url)
    until(lambda: len(receiver.bodies) == 3)
    assert receiver.bodies[0] == receiver.bodies[1] == receiver.bodies[2]


def test_early_calls_back_before_the_submission_is_answered(kie: KieClient):
    with receiving(seconds=0.1) as receiver:
        answer = kie.generate("tiny: x sandbox:early", callBackUrl=receiver.url)
        (body,) = receiver.bodies
    assert body["data"]["taskId"] == answer["data"]["taskId"]


def test_reorder_changes_nothing_where_there_is_no_progress(kie: KieClient, receiver: Receiver):
    kie.made("tiny: x sandbox:reorder", callBackUrl=receiver.url)
    assert receiver.first()["code"] == 200
    assert len(receiver.bodies) == 1


def test_dead_links_stay_dead_and_a_download_link_works(kie: KieClient, receiver: Receiver):
    task_id = kie.made("tiny: x sandbox:dead_links", callBackUrl=receiver.url)
    link = receiver.first()["data"]["resultUrls"][0]
    for _ in range(2):
        assert kie.links(task_id)[0] == link
        assert kie.client.get(link).status == 404
    assert kie.client.get(kie.post("common/download-url", {"url": link})["data"]).status == 200


def test_links_that_are_dead_for_ever_have_dead_download_links(kie: KieClient):
    link = kie.links(kie.made("tiny: x sandbox:dead_links_forever"))[0]
    answer = kie.post("common/download-url", {"url": link})
    assert answer["code"] == 200
    assert kie.client.get(answer["data"]).status == 404
    assert kie.client.get(link).status == 404


@pytest.mark.parametrize("knob", ["html", "short", "corrupt"])
def test_downloads_are_spoiled(sandbox: Sandbox, kie: KieClient, knob: str):
    link = kie.links(kie.made("a fox"))[0]
    whole = kie.client.get(link).data
    sandbox.set_faults({knob: 1})
    assert kie.client.get(link).data != whole
    assert sandbox.served(link)[-1]["fault"] == knob
