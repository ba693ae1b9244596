import contextlib
import json
import uuid
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
import urllib3
from hypothesis import given
from hypothesis import strategies as st

from tests.webhook.sandbox.helpers import Client, Receiver, mask, open_picture, payload, shape, until
from webhook.sandbox import Sandbox, running
from webhook.sandbox.acedata.checks import check_edits, check_imagine, check_text, check_videos
from webhook.sandbox.dialect import Refusal


def test_a_synchronous_imagine_answers_in_the_documented_shape(client: Client):
    answer = client.made("a red fox")
    documented = payload("imagine_sync_success.json")
    assert shape(answer) == shape(documented)
    assert list(answer) == list(documented)
    assert answer["actions"] == documented["actions"]
    assert answer["success"] is True
    assert answer["progress"] == 100
    assert uuid.UUID(answer["task_id"])
    assert int(answer["image_id"]) > 2**53
    assert answer["raw_image_url"].endswith("&")
    assert answer["image_url"] == answer["raw_image_url"] + "width=64&height=64"


def test_a_synchronous_imagine_waits_until_it_is_done(http: urllib3.PoolManager):
    with running(delay=0.3) as sandbox:
        answer = Client(sandbox.url, http).made()
        (entry,) = sandbox.log("submit")
    assert answer["progress"] == 100
    assert entry["at"] - entry["received_at"] >= 0.3


def test_a_synchronous_imagine_gives_up_after_its_timeout(http: urllib3.PoolManager):
    with running(delay=30) as sandbox:
        answer = Client(sandbox.url, http).imagine(timeout=0.05)
    assert answer.status == 504
    assert shape(answer.json()) == shape(payload("error_504_timeout.json"))
    assert answer.json()["error"]["code"] == "timeout"


@pytest.mark.parametrize("how", [{"async": True}, {"callback_url": "http://127.0.0.1:9/nobody"}])
def test_an_asynchronous_imagine_is_acknowledged_in_both_documented_shapes(client: Client, how: dict[str, object]):
    first, second = client.made(**how), client.made(**how)
    assert shape(first) == shape(payload("submit_ack_callback_url.json"))
    assert shape(second) == shape(payload("submit_ack_concepts.json"))


def test_the_acknowledgement_comes_before_the_work_is_done(http: urllib3.PoolManager):
    with running(delay=30) as sandbox:
        client = Client(sandbox.url, http)
        task_id = client.made(**{"async": True})["task_id"]
        assert "response" not in client.record(task_id)


def test_an_upscale_answers_in_the_documented_shape_with_other_actions(client: Client):
    grid = client.made()
    answer = client.made("", action="upscale2", image_id=grid["image_id"])
    documented = payload("upscale_sync_success.json")
    assert shape(answer) == shape(documented)
    assert answer["actions"] == documented["actions"]
    assert answer["image_id"] != grid["image_id"]
    assert answer["task_id"] != grid["task_id"]


@pytest.mark.parametrize("action", ["variation1", "reroll"])
def test_a_variation_is_a_grid_again(client: Client, action: str):
    grid = client.made()
    assert client.made("", action=action, image_id=grid["image_id"])["actions"] == grid["actions"]


@pytest.mark.parametrize("action", ["upscale_2x", "zoom_out_1_5x", "pan_up"])
def test_a_single_picture_stays_a_single_picture(client: Client, action: str):
    single = client.made("", action="upscale1", image_id=client.made()["image_id"])
    assert client.made("", action=action, image_id=single["image_id"])["actions"] == single["actions"]


def test_only_offered_actions_are_accepted(client: Client):
    grid = client.made()
    answer = client.imagine("", action="zoom_out_2x", image_id=grid["image_id"])
    assert answer.status == 400
    assert answer.json()["error"] == {"code": "bad_request", "message": "zoom_out_2x is not available for this image"}


def test_region_variation_needs_an_upscaled_parent_and_a_mask(client: Client):
    grid = client.made()
    single = client.made("", action="upscale1", image_id=grid["image_id"])
    region = {"action": "variation_region", "prompt": "tiny: a cute cat"}
    assert client.imagine(**region, image_id=grid["image_id"], mask=mask()).status == 400
    assert client.imagine(**region, image_id=single["image_id"]).status == 400
    redrawn = client.made(**region, image_id=single["image_id"], mask=mask())
    assert redrawn["actions"] == grid["actions"]
    assert client.imagine(**region, image_id=single["image_id"], mask="https://example.com/mask.png").status == 200


@pytest.mark.parametrize("wrong", ["/9j/4AAQ", "not base64!", f"data:image/jpeg;base64,{mask()}", "aGVsbG8="])
def test_a_mask_that_is_no_image_is_refused(client: Client, wrong: str):
    single = client.made("", action="upscale1", image_id=client.made()["image_id"])
    answer = client.imagine(action="variation_region", image_id=single["image_id"], mask=wrong)
    assert answer.status == 400
    assert answer.json()["error"]["message"] == "mask is neither an address nor an image in Base64"


@pytest.mark.parametrize("prompt", ["https://x.org/1.png https://x.org/2.png", "https://x.org/1.png tiny: a bear"])
def test_images_at_the_head_of_the_prompt_are_taken(client: Client, prompt: str):
    made = client.made(prompt)
    assert shape(made) == shape(payload("blend_success.json"))
    described = open_picture(client.get(made["raw_image_url"]).data).info["Description"]
    assert described.startswith(("a blend Job ID", "tiny: a bear Job ID"))


def test_a_parent_must_be_named_and_known(client: Client):
    assert client.imagine("", action="upscale1").json()["error"]["message"] == "image_id is required for upscale1"
    unknown = client.imagine("", action="upscale1", image_id="1234197197067915365")
    assert unknown.status == 400
    assert unknown.json()["error"]["message"] == "image_id is unknown"


def test_a_failed_parent_cannot_be_worked_on(client: Client):
    record = client.finished(client.made("tiny: x sandbox:fail", **{"async": True})["task_id"])
    assert client.imagine("", action="upscale1", image_id=record["image_id"]).status == 400


def test_an_intermediate_image_id_cannot_be_worked_on(client: Client, receiver: Receiver):
    body = {"prompt": "tiny: a fox", "callback_url": receiver.url}
    client.post("/midjourney/imagine", body, Accept="application/x-ndjson")
    until(lambda: len(receiver.bodies) == 3)
    refused = client.imagine("", action="upscale1", image_id=receiver.bodies[0]["image_id"])
    assert refused.status == 400
    assert "not finished" in refused.json()["error"]["message"]
    assert client.imagine("", action="upscale1", image_id=receiver.bodies[2]["image_id"]).status == 200


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ([], "The json payload is not valid to request the API"),
        ({}, "prompt is required"),
        ({"prompt": " "}, "prompt is required"),
        ({"prompt": 7}, "prompt has the wrong type: int"),
        ({"prompt": "half a \ud83d"}, "prompt is not valid Unicode"),
        ({"prompt": "x", "async": "yes"}, "async has the wrong type: str"),
        ({"prompt": "x", "timeout": True}, "timeout has the wrong type: bool"),
        ({"prompt": "x", "mode": "warp"}, "mode must be one of fast, relax, turbo"),
        ({"prompt": "x", "callback_url": "ftp://x"}, "callback_url is not an http:// or https:// address"),
    ],
)
def test_wrong_fields_are_refused_and_cost_nothing(sandbox: Sandbox, client: Client, body: object, sentence: str):
    answer = client.post("/midjourney/imagine", body)
    assert answer.status == 400
    assert shape(answer.json()) == shape(payload("error_400_bad_request.json"))
    assert answer.json()["error"] == {"code": "bad_request", "message": sentence}
    assert sandbox.bill() == {"charges": 0, "lines": []}


def test_a_body_that_is_not_json_is_refused(client: Client):
    answer = client.http.request(
        "POST", client.url + "/midjourney/imagine", body=b"{", headers={"Authorization": "Bearer x"}
    )
    assert answer.status == 400


def test_unknown_fields_and_nulls_are_ignored(client: Client):
    assert client.imagine(seed=7, callback_url=None, mask=None).status == 200


@pytest.mark.parametrize(
    ("authorization", "status", "code"),
    [
        ("", 400, "no_token"),
        ("Basic abc", 400, "no_token"),
        ("Bearer ", 400, "no_token"),
        ("Bearer invalid", 401, "invalid_token"),
        ("Bearer used-up", 403, "used_up"),
    ],
)
@pytest.mark.parametrize("path", ["/midjourney/imagine", "/midjourney/tasks"])
def test_tokens_are_refused_as_documented(client: Client, path: str, authorization: str, status: int, code: str):
    answer = client.post(path, {"prompt": "x"}, Authorization=authorization)
    assert answer.status == status
    assert answer.json()["error"]["code"] == code
    assert shape(answer.json()) == shape(payload("error_401_invalid_token.json"))


def test_other_paths_answer_that_there_is_no_such_api(client: Client):
    answer = client.post("/midjourney/paint", {})
    assert answer.status == 404
    assert answer.json()["error"]["code"] == "no_api"


def test_the_bill_has_one_line_for_each_accepted_submission(sandbox: Sandbox, client: Client):
    task_id = client.made("tiny: a fox", callback_url="http://127.0.0.1:9/a1")["task_id"]
    client.imagine("")
    client.post("/midjourney/imagine", {"prompt": "x"}, Authorization="Bearer invalid")
    bill = client.get("/sandbox/bill").json()
    assert bill == sandbox.bill()
    assert bill["charges"] == 1
    (line,) = bill["lines"]
    assert line["task_id"] == task_id
    assert line["prompt"] == "tiny: a fox"
    assert line["action"] == "generate"
    assert line["callback_url"] == "http://127.0.0.1:9/a1"
    assert line["amount"] == 1
    assert [entry["status"] for entry in sandbox.log("submit")] == [200, 400, 401]


def test_a_hundred_submissions_at_once_are_a_hundred_charges(sandbox: Sandbox, client: Client):
    with ThreadPoolExecutor(64) as threads:
        answers = list(threads.map(lambda n: client.made(f"tiny: {n}", **{"async": True}), range(100)))
    assert len({answer["task_id"] for answer in answers}) == 100
    assert {line["task_id"] for line in sandbox.bill()["lines"]} == {answer["task_id"] for answer in answers}


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
    )
)
def test_whatever_json_comes_is_checked_without_a_crash(body: object):
    _check(body)


@given(
    st.dictionaries(
        st.sampled_from(["prompt", "action", "image_id", "callback_url", "mode", "async", "mask", "video_index"]),
        st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.text()),
    )
)
def test_whatever_the_known_fields_hold_is_checked_without_a_crash(body: object):
    _check(body)


def _check(body: object) -> None:
    for check in (check_imagine, check_edits, check_videos, partial(check_text, "describe")):
        with contextlib.suppress(Refusal):
            assert json.dumps(check(body))
