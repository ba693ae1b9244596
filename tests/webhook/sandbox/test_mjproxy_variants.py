"""What differs between the Java original, the C# fork and relays, and how each knob sounds."""

import json

import pytest
import urllib3

from tests.patience import patient
from tests.webhook.sandbox.helpers import Receiver, payload, shape, until
from tests.webhook.sandbox.mjproxy_client import ProxyClient, custom_id
from webhook.sandbox import Sandbox, running


@pytest.fixture
def proxy(sandbox: Sandbox, http: urllib3.PoolManager) -> ProxyClient:
    return ProxyClient(sandbox.url, http)


def test_java_posts_the_documented_fields_and_no_buttons(proxy: ProxyClient, receiver: Receiver):
    proxy.made(prompt="a fox proxy:java", notifyHook=receiver.url, state="mine")
    until(lambda: len(receiver.bodies) == 4)
    expected = (payload("notify_submitted_reconstructed.json", "mjproxy"),) + (
        payload("notify_in_progress_reconstructed.json", "mjproxy"),
    ) * 2
    for body, documented in zip(receiver.bodies, expected, strict=False):
        assert shape(body) == shape(documented)
        assert list(body) == list(documented)
    last, documented = receiver.bodies[-1], payload("notify_success.json", "mjproxy")
    assert shape(last) | {"properties": 0} == shape(documented) | {"properties": 0, "state": "str"}


def test_java_knows_changes_but_no_action(proxy: ProxyClient):
    grid = proxy.grid("tiny: a fox proxy:java")
    assert proxy.finished(proxy.made("simple-change", content=f"{grid['id']} R"))["action"] == "REROLL"
    single = proxy.finished(proxy.made("change", taskId=grid["id"], action="UPSCALE", index=1))
    assert "buttons" not in single
    custom = f"MJ::JOB::upsample::1::{grid['properties']['messageHash']}"
    assert proxy.submit("action", taskId=grid["id"], customId=custom).status == 404


@pytest.mark.parametrize("words", ["proxy:late-success", "proxy:java proxy:late-success"])
def test_a_success_can_follow_a_failure_by_time_out(proxy: ProxyClient, receiver: Receiver, words: str):
    proxy.made(prompt=f"tiny: a fox {words}", notifyHook=receiver.url)
    until(lambda: len(receiver.bodies) == 4)
    failure, success = receiver.bodies[2:]
    assert (failure["status"], failure["progress"], failure["failReason"]) == ("FAILURE", "", "任务超时")
    assert failure["finishTime"]
    # Nobody clears the reason.
    assert (success["status"], success["progress"], success["failReason"]) == ("SUCCESS", "100%", "任务超时")
    assert proxy.get(success["imageUrl"]).status == 200


def test_a_query_sees_the_time_out_as_well(http: urllib3.PoolManager):
    with running(delay=patient(0.4)) as sandbox:
        proxy = ProxyClient(sandbox.url, http)
        task_id = proxy.made(prompt="tiny: a fox proxy:late-success")
        assert proxy.finished(task_id)["status"] == "FAILURE"
        until(lambda: proxy.task(task_id)["status"] == "SUCCESS")


def test_a_relay_drops_hook_and_state_and_nobody_calls_back(sandbox: Sandbox, proxy: ProxyClient, receiver: Receiver):
    answer = proxy.told("imagine", prompt="tiny: a fox proxy:relay", notifyHook=receiver.url, state="mine")
    expected = payload("relay_octopusx_submit.json", "mjproxy")
    assert shape(answer) == shape(expected)
    assert answer["description"] == expected["description"]
    task = proxy.finished(answer["result"])
    assert (task["state"], task["failReason"]) == ("", "")
    assert receiver.url not in json.dumps(task)
    assert sandbox.log("callback") == []


def test_a_relay_never_sends_null_where_the_original_does(http: urllib3.PoolManager):
    with running(delay=30) as sandbox:
        proxy = ProxyClient(sandbox.url, http)
        task = proxy.task(proxy.made(prompt="tiny: a fox proxy:relay"))
    assert (task["status"], task["progress"], task["imageUrl"], task["finishTime"]) == ("", "0%", "", 0)


def test_a_relay_has_its_own_links_and_the_buttons_of_upstream(proxy: ProxyClient):
    grid = proxy.grid("tiny: a fox proxy:relay")
    assert grid["imageUrl"] == f"{proxy.url}/mj/image/{grid['id']}"
    assert proxy.get(grid["imageUrl"]).data.startswith(b"\x89PNG")
    single = proxy.pressed(grid, "upsample::4")
    assert single["imageUrl"].startswith(f"{proxy.url}/mj/image/")
    window = proxy.told("action", taskId=single["id"], customId=custom_id(single, "CustomZoom"))
    assert window["code"] == 21
    zoomed = proxy.finished(proxy.made("modal", taskId=window["result"], prompt="tiny: far"))
    assert proxy.get(zoomed["imageUrl"]).status == 200


# --- knobs ---


@pytest.mark.parametrize(("knob", "code"), [("too_many", 23), ("unavailable", 3), ("error_before", 9), ("reject", 24)])
def test_a_refused_submission_costs_nothing(sandbox: Sandbox, proxy: ProxyClient, knob: str, code: int):
    sandbox.set_faults({knob: 1})
    assert proxy.told("imagine", prompt="tiny: x")["code"] == code
    assert proxy.told("imagine", prompt="tiny: x")["code"] == code
    assert sandbox.bill()["lines"] == []


def test_a_rejected_task_has_an_id_in_the_documents_and_none_in_the_source_code(sandbox: Sandbox, proxy: ProxyClient):
    sandbox.set_faults({"too_many": 1})
    first, second = (proxy.told("imagine", prompt="tiny: x") for _ in range(2))
    assert shape(first) == shape(payload("submit_code_23.json", "mjproxy"))
    assert second["result"] is None


def test_a_banned_prompt_names_its_word(proxy: ProxyClient):
    answer = proxy.told("imagine", prompt="tiny: x sandbox:reject")
    assert answer["properties"] == {"promptEn": "nude body", "bannedWord": "nude"}


def test_no_account_for_a_follow_up_is_no_missing_parent(sandbox: Sandbox, proxy: ProxyClient):
    grid = proxy.grid()
    sandbox.set_faults({"unavailable": 1})
    assert proxy.submit("change", taskId=grid["id"], action="REROLL").status == 503


def test_an_answer_that_goes_wrong_is_charged(sandbox: Sandbox, proxy: ProxyClient, receiver: Receiver):
    failed = proxy.told("imagine", prompt="tiny: x sandbox:error_after", notifyHook=receiver.url, state="mine")
    assert (failed["code"], failed["result"]) == (9, None)
    until(lambda: len(receiver.bodies) == 4)
    (task,) = proxy.get("/mj/task/list").json()
    assert task["state"] == "mine"
    assert "result" not in proxy.told("imagine", prompt="tiny: x sandbox:no_task_id")
    assert sandbox.bill()["charges"] == 2


def test_a_failure_is_posted_without_progress_and_refunded(sandbox: Sandbox, proxy: ProxyClient, receiver: Receiver):
    proxy.made(prompt="tiny: x sandbox:fail", notifyHook=receiver.url)
    last = until(lambda: receiver.bodies if len(receiver.bodies) == 4 else None)[-1]
    assert (last["status"], last["progress"], last["imageUrl"]) == ("FAILURE", "", None)
    assert last["failReason"].startswith("[Invalid parameter]")
    assert sandbox.bill()["charges"] == 0


def test_early_calls_back_before_the_answer(proxy: ProxyClient, receiver: Receiver):
    task_id = proxy.made(prompt="tiny: x sandbox:early", notifyHook=receiver.url)
    assert [(body["id"], body["status"]) for body in receiver.bodies] == [(task_id, "SUCCESS")]


def test_dead_links_live_again_when_the_task_is_fetched(proxy: ProxyClient):
    for words in ("", "proxy:relay"):
        task = proxy.grid(f"tiny: x sandbox:dead_links {words}")
        assert proxy.get(task["imageUrl"]).status == 404
        assert proxy.get(proxy.task(task["id"])["imageUrl"]).status == 200
