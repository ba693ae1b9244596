import time
from collections.abc import Iterator

import pytest
import urllib3
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.examples import examples
from tests.webhook.sandbox.helpers import TOKEN, Receiver, open_picture, payload, shape, until
from tests.webhook.sandbox.mjproxy_client import PICTURE, ProxyClient, custom_id
from webhook.sandbox import Sandbox, running


@pytest.fixture
def proxy(sandbox: Sandbox, http: urllib3.PoolManager) -> ProxyClient:
    return ProxyClient(sandbox.url, http)


@pytest.fixture(scope="module")
def strict() -> Iterator[ProxyClient]:
    """For requests that leave no trace, because they are refused."""
    with running(delay=0) as sandbox, urllib3.PoolManager() as http:
        yield ProxyClient(sandbox.url, http)


# --- submissions ---


def test_a_submission_is_acknowledged_with_code_1_and_an_id_of_the_clock(proxy: ProxyClient):
    before = int(time.time() * 1000)
    answer = proxy.told("imagine", prompt="tiny: a fox")
    expected = payload("submit_code_1.json", "mjproxy")
    assert shape(answer) == shape(expected)
    assert answer["code"] == expected["code"]
    assert before <= int(answer["result"][:-3]) <= time.time() * 1000


def test_what_exceeds_the_account_waits_with_code_22(http: urllib3.PoolManager):
    with running(delay=30) as sandbox:
        proxy = ProxyClient(sandbox.url, http)
        answers = [proxy.told("imagine", prompt=f"tiny: {number}") for number in range(6)]
        assert [answer["code"] for answer in answers] == [1, 1, 1, 1, 22, 22]
        assert [answer["properties"].get("numberOfQueues") for answer in answers[3:]] == [None, 1, 2]
        assert shape(answers[4]) == shape(payload("submit_code_22.json", "mjproxy"))
        queued = proxy.get("/mj/task/queue").json()
        assert [task["id"] for task in queued] == [answer["result"] for answer in answers]


@pytest.mark.parametrize(
    ("path", "fields", "sentence"),
    [
        ("imagine", {}, "prompt不能为空"),
        ("imagine", {"prompt": " "}, "prompt不能为空"),
        ("imagine", {"prompt": "x", "base64Array": ["iVBO"]}, "base64格式错误"),
        ("imagine", {"prompt": "x", "state": "s" * 256}, "state参数错误"),
        ("imagine", {"prompt": "x", "notifyHook": f"http://x/{'h' * 2000}"}, "notifyHook参数错误"),
        ("imagine", {"prompt": "x", "notifyHook": "ftp://x"}, "notifyHook参数错误"),
        ("imagine", {"prompt": "x sandbox:explode"}, "prompt: unknown knob 'explode'"),
        ("imagine", {"prompt": "x proxy:rust"}, "prompt: unknown proxy:rust; expected one of java, csharp, relay,"),
        ("imagine", {"prompt": "x proxy:java proxy:relay"}, "prompt: java and relay cannot be combined"),
        ("blend", {"base64Array": [PICTURE]}, "base64List参数错误"),
        ("blend", {"base64Array": [PICTURE] * 6}, "base64List参数错误"),
        ("blend", {"base64Array": [PICTURE] * 2, "dimensions": "ROUND"}, "dimensions参数错误"),
        ("imagine", {"prompt": "x", "accountFilter": {"modes": ["WARP"]}}, "accountFilter参数错误"),
        ("imagine", {"prompt": "x", "accountFilter": "TURBO"}, "accountFilter参数错误"),
        ("describe", {"base64": "iVBO"}, "base64格式错误"),
        ("change", {"action": "UPSCALE", "index": 1}, "taskId不能为空"),
        ("change", {"taskId": "1", "action": "PAN", "index": 1}, "action参数错误"),
        ("change", {"taskId": "1", "action": "UPSCALE", "index": 5}, "index参数错误"),
        ("simple-change", {"content": "1 U5"}, "content参数错误"),
        ("action", {"taskId": "1"}, "参数错误"),
    ],
)
def test_wrong_requests_are_code_4_and_cost_nothing(
    strict: ProxyClient, path: str, fields: dict[str, object], sentence: str
):
    answer = strict.told(path, **fields)
    assert (answer["code"], answer["result"]) == (4, None)
    assert answer["description"].startswith(sentence)
    assert strict.get("/sandbox/bill").json()["lines"] == []


def test_a_parent_that_is_gone_is_code_3(proxy: ProxyClient):
    assert proxy.told("change", taskId="1", action="REROLL")["code"] == 3
    assert proxy.told("simple-change", **payload("simple_change_request.json", "mjproxy"))["code"] == 3
    # The C# program has its own status for it.
    for path, fields in (("action", payload("relay_action_request.json", "mjproxy")), ("modal", {"taskId": "1"})):
        answer = proxy.submit(path, **fields)
        assert (answer.status, answer.json()["code"]) == (404, 3)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"mj-api-secret": "anything"}, 200),
        (TOKEN, 200),
        ({}, 401),
        ({"mj-api-secret": "invalid"}, 401),
        ({"Authorization": "Bearer invalid"}, 401),
        ({"mj-api-secret": "used-up"}, 402),
    ],
)
def test_the_secret_comes_in_its_own_header_or_as_a_token(strict: ProxyClient, headers: dict[str, str], status: int):
    paths = [("POST", "/mj/submit/imagine"), ("GET", "/mj/task/1/fetch"), ("POST", "/mj/task/list-by-condition")]
    for method, path in paths:
        answer = strict.http.request(method, strict.url + path, body=b'{"prompt": ""}', headers=headers)
        assert answer.status == status


@pytest.mark.parametrize(
    ("path", "more", "speed"),
    [
        ("/mj/submit/imagine", {}, "fast"),
        ("/mj/submit/imagine", {"prompt": "tiny: a fox --turbo"}, "turbo"),
        ("/mj-relax/mj/submit/imagine", {"prompt": "tiny: a fox --turbo"}, "relax"),
        ("/mj-turbo/mj/submit/imagine", {}, "turbo"),
        ("/mj-turbo/mj/submit/imagine", {"accountFilter": {"modes": ["RELAX", "FAST"]}}, "relax"),
    ],
)
def test_a_relay_takes_the_speed_from_filter_path_or_prompt(
    proxy: ProxyClient, path: str, more: dict[str, object], speed: str
):
    task_id = proxy.post(path, {"prompt": "tiny: a fox", **more}).json()["result"]
    (note,) = (one for one in proxy.get("/sandbox/log?kind=submit").json() if one["task_id"] == task_id)
    assert note["speed"] == speed
    assert proxy.task(task_id)["id"] == task_id


def test_there_is_no_other_speed_in_a_path(proxy: ProxyClient):
    answer = proxy.post("/mj-warp/mj/submit/imagine", {"prompt": "tiny: a fox"})
    assert (answer.status, answer.json()["code"]) == (404, 404)


# --- results and follow-ups ---


def test_a_finished_task_has_what_is_documented_and_buttons(proxy: ProxyClient):
    before = int(time.time() * 1000)
    task = proxy.finished(proxy.made(prompt="a red fox", state="my-correlation-id", notifyHook="http://127.0.0.1:9/x"))
    documented = shape(payload("notify_success.json", "mjproxy"))
    properties = documented.pop("properties")
    assert documented.items() <= shape(task).items()
    assert properties.items() <= shape(task["properties"]).items()
    assert (task["action"], task["status"], task["progress"]) == ("IMAGINE", "SUCCESS", "100%")
    assert task["state"] == "my-correlation-id"
    assert task["properties"]["notifyHook"] == "http://127.0.0.1:9/x"
    assert before <= task["submitTime"] <= task["finishTime"] <= time.time() * 1000
    assert [button["label"] for button in task["buttons"]] == ["U1", "U2", "U3", "U4", "", "V1", "V2", "V3", "V4"]
    assert {"customId", "emoji", "label"} <= task["buttons"][0].keys()
    assert open_picture(proxy.get(task["imageUrl"]).data).size == (128, 128)


def test_grids_are_changed_by_number_in_both_ways(proxy: ProxyClient):
    grid = proxy.grid()
    single = proxy.finished(proxy.made("change", taskId=grid["id"], action="UPSCALE", index=2))
    assert (single["action"], single["prompt"]) == ("UPSCALE", grid["prompt"])
    assert proxy.finished(proxy.made("simple-change", content=f"{grid['id']} V3"))["action"] == "VARIATION"
    assert proxy.finished(proxy.made("simple-change", content=f"{grid['id']} R"))["action"] == "IMAGINE"
    refused = proxy.told("change", taskId=single["id"], action="UPSCALE", index=1)
    assert (refused["code"], refused["description"]) == (4, "关联任务不允许执行变化")


def test_buttons_are_pressed_by_custom_id(proxy: ProxyClient):
    grid = proxy.grid()
    single = proxy.pressed(grid, "::upsample::2::")
    assert (single["action"], single["parentId"]) == ("UPSCALE", grid["id"])
    actions = {"Outpaint::50": "ZOOM", "pan_left": "PAN", "low_variation": "VARIATION", "2x_creative": "UPSCALE_HD"}
    assert {part: proxy.pressed(single, part)["action"] for part in actions} == actions
    refused = proxy.told("action", taskId=grid["id"], customId=custom_id(single, "pan_left"))
    assert (refused["code"], refused["description"]) == (4, "未知的 Action 类型")


def test_a_failed_parent_cannot_be_worked_on(proxy: ProxyClient):
    failed = proxy.grid("tiny: x sandbox:fail")
    refused = proxy.told("change", taskId=failed["id"], action="REROLL")
    assert (refused["code"], refused["description"]) == (4, "关联任务状态错误")


def test_a_region_waits_for_its_window_and_is_charged_only_then(
    sandbox: Sandbox, proxy: ProxyClient, receiver: Receiver
):
    single = proxy.pressed(proxy.grid(), "upsample::1")
    charges = sandbox.bill()["charges"]
    hook = {"notifyHook": receiver.url, "state": "mine"}
    answer = proxy.told("action", taskId=single["id"], customId=custom_id(single, "Inpaint"), **hook)
    assert (answer["code"], answer["description"]) == (21, "Waiting for window confirm")
    assert answer["properties"] == {"finalPrompt": "", "remix": True}
    task_id = answer["result"]
    waiting = proxy.task(task_id)
    assert (waiting["status"], waiting["imageUrl"], waiting["buttons"]) == ("MODAL", None, [])
    assert sandbox.bill()["charges"] == charges
    assert proxy.told("modal", taskId=task_id, prompt="a hat")["description"] == "base64格式错误"
    assert proxy.told("modal", taskId=task_id, prompt="tiny: a hat", maskBase64=PICTURE)["result"] == task_id
    until(lambda: len(receiver.bodies) == 4)
    last = receiver.bodies[-1]
    assert (last["id"], last["state"], last["action"], last["prompt"]) == (task_id, "mine", "VARIATION", "tiny: a hat")
    assert len(last["buttons"]) == 9
    assert sandbox.bill()["charges"] == charges + 1
    assert proxy.submit("modal", taskId=task_id, prompt="again", maskBase64=PICTURE).status == 404


def test_a_custom_zoom_waits_for_its_window_too(proxy: ProxyClient):
    single = proxy.pressed(proxy.grid(), "upsample::1")
    answer = proxy.told("action", taskId=single["id"], customId=custom_id(single, "CustomZoom"))
    assert (answer["code"], answer["properties"]["finalPrompt"]) == (21, "tiny: a fox")
    task = proxy.finished(proxy.made("modal", taskId=answer["result"], prompt="tiny: a fox --zoom 1.8"))
    assert (task["action"], task["prompt"]) == ("ZOOM", "tiny: a fox --zoom 1.8")


def test_a_blend_is_a_grid(proxy: ProxyClient):
    task = proxy.finished(proxy.made("blend", base64Array=[PICTURE] * 5, dimensions="PORTRAIT"))
    assert (task["action"], len(task["buttons"])) == ("BLEND", 9)


def test_a_description_is_the_final_prompt(proxy: ProxyClient):
    task = proxy.finished(proxy.made("describe", base64=PICTURE))
    documented = shape(payload("describe_task_excerpt.json", "mjproxy"))
    properties = documented.pop("properties")
    assert documented.items() <= shape(task).items()
    assert properties.items() <= shape(task["properties"]).items()
    assert task["properties"]["finalPrompt"].startswith("1️⃣ ")
    assert task["properties"]["finalPrompt"].count("\n\n") == 3


# --- questions ---


def test_an_unknown_id_is_an_empty_answer(proxy: ProxyClient):
    answer = proxy.get("/mj/task/14001929738841620/fetch")
    assert (answer.status, answer.data) == (200, b"")


def test_a_list_by_ids_leaves_out_what_it_does_not_know(proxy: ProxyClient):
    first, second = proxy.made(), proxy.made()
    listed = proxy.post("/mj/task/list-by-condition", {"ids": [second, "unknown", first]}).json()
    assert [task["id"] for task in listed] == [second, first]
    assert proxy.post("/mj/task/list-by-condition", {}).json() == []


def test_the_list_is_newest_first_and_only_ours(proxy: ProxyClient):
    proxy.imagine(**{"async": True})
    made = [proxy.made() for _ in range(3)]
    assert [task["id"] for task in proxy.get("/mj/task/list").json()] == made[::-1]


# --- the hook ---


def test_every_change_is_posted_as_the_whole_task(sandbox: Sandbox, proxy: ProxyClient, receiver: Receiver):
    task_id = proxy.made(prompt="a red fox", notifyHook=receiver.url, state="mine")
    until(lambda: len(receiver.bodies) == 4)
    told = [(body["status"], body["progress"]) for body in receiver.bodies]
    assert told == [("SUBMITTED", "0%"), ("IN_PROGRESS", "35%"), ("IN_PROGRESS", "75%"), ("SUCCESS", "100%")]
    for body in receiver.bodies:
        assert (body["id"], body["state"], body["properties"]["notifyHook"]) == (task_id, "mine", receiver.url)
    assert ".webp?" in receiver.bodies[1]["imageUrl"]
    assert sandbox.bill()["lines"][0]["provider"] == sandbox.log("submit")[0]["provider"] == "mjproxy"


@given(
    st.sampled_from(["imagine", "change", "simple-change", "action", "modal", "blend", "describe"]),
    st.dictionaries(
        st.sampled_from(["prompt", "taskId", "action", "index", "content", "base64Array", "base64", "state"]),
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.text()),
    ),
)
@settings(max_examples=examples(60))
def test_whatever_the_fields_hold_is_answered_with_a_code(proxy: ProxyClient, path: str, body: dict[str, object]):
    assert proxy.submit(path, **body).json()["code"] in {1, 3, 4, 22}
