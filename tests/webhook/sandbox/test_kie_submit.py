"""What the pretend Kie accepts and refuses."""

import contextlib
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import urllib3
from hypothesis import given
from hypothesis import strategies as st

from tests.webhook.sandbox.helpers import Client, payload, shape
from tests.webhook.sandbox.kie_client import CAT, KieClient
from webhook.sandbox import Sandbox, running
from webhook.sandbox.dialect import Refusal
from webhook.sandbox.kie.checks import check_extend, check_fields, check_generate
from webhook.sandbox.kie.fields import EXTEND, GENERATE, UPSCALE, VARY

NOBODY = "http://127.0.0.1:9/nobody"


@pytest.fixture
def kie(client: Client) -> KieClient:
    return KieClient(client)


@pytest.fixture(scope="module")
def strict() -> Iterator[tuple[Sandbox, KieClient]]:
    """One for all that is refused."""
    with running(size=16) as sandbox, urllib3.PoolManager() as http:
        yield sandbox, KieClient(Client(sandbox.url, http))


def test_the_example_of_the_page_is_accepted_and_says_what_it_ignored(sandbox: Sandbox, kie: KieClient):
    answer = kie.post("mj/generate", payload("generate_request.json", "kie") | {"callBackUrl": NOBODY})
    assert shape(answer) == shape(payload("generate_response.json", "kie"))
    assert re.fullmatch("[0-9a-f]{32}", answer["data"]["taskId"])
    (entry,) = sandbox.log("submit")
    assert entry["ignored"] == ["fileUrls", "ow", "videoBatchSize", "motion"]
    (line,) = sandbox.bill()["lines"]
    assert (line["provider"], line["action"], line["callback_url"]) == ("kie", "mj_txt2img", NOBODY)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("mj_txt2img", {"speed": "turbo", "version": "niji6", "aspectRatio": "2:1", "variety": 100}),
        ("mj_img2img", {"fileUrl": CAT, "speed": "fast", "stylization": 1000, "weirdness": 3000}),
        ("mj_style_reference", {"fileUrls": [CAT, CAT], "enableTranslation": True}),
        ("mj_omni_reference", {"fileUrls": [CAT], "ow": 1, "waterMark": "mine"}),
        ("mj_video", {"fileUrls": [CAT], "motion": "high", "videoBatchSize": 2}),
        ("mj_video_hd", {"fileUrl": CAT, "motion": "low", "videoBatchSize": 4}),
    ],
)
def test_every_type_takes_its_options(sandbox: Sandbox, kie: KieClient, kind: str, options: dict[str, Any]):
    assert kie.generate(taskType=kind, **options)["code"] == 200
    assert sandbox.log("submit")[0]["ignored"] == []


@pytest.mark.parametrize(
    ("kind", "option", "value"),
    [
        ("mj_txt2img", "fileUrl", CAT),
        ("mj_img2img", "ow", 5),
        ("mj_img2img", "motion", "low"),
        ("mj_style_reference", "videoBatchSize", 2),
        ("mj_omni_reference", "speed", "fast"),
        ("mj_video", "speed", "fast"),
        ("mj_video_hd", "ow", 5),
    ],
)
def test_a_type_ignores_the_options_that_it_does_not_take(
    sandbox: Sandbox, kie: KieClient, kind: str, option: str, value: Any
):
    needed: dict[str, Any] = {} if kind == "mj_txt2img" else {"fileUrls": [CAT]}
    needed |= {"motion": "low"} if "video" in kind else {}
    record = kie.record(kie.made(**{"taskType": kind, **needed, option: value}))
    assert sandbox.log("submit")[0]["ignored"] == [option]
    assert not json.loads(record["data"]["paramJson"]).get(option)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"taskType": "mj_describe"}, "taskType must be one of mj_txt2img, "),
        ({"taskType": None}, "taskType is required"),
        ({"prompt": " "}, "prompt is required"),
        ({"prompt": "x" * 2001}, "prompt must have at most 2000 characters"),
        ({"prompt": ["x"]}, "prompt must be a string"),
        ({"prompt": "\ud800"}, "prompt is not valid Unicode"),
        ({"speed": "relax"}, "speed must be one of relaxed, fast, turbo"),
        ({"aspectRatio": "5:4"}, "aspectRatio must be one of 1:2, "),
        ({"version": 7}, "version must be one of 7, "),
        ({"variety": 7}, "variety must be an integer from 0 to 100 and a multiple of 5"),
        ({"variety": 105}, "variety must be"),
        ({"stylization": 1001}, "stylization must be an integer from 0 to 1000"),
        ({"stylization": True}, "stylization must be"),
        ({"weirdness": -1}, "weirdness must be an integer from 0 to 3000"),
        ({"ow": 0}, "ow must be an integer from 1 to 1000"),
        ({"enableTranslation": "yes"}, "enableTranslation must be true or false"),
        ({"waterMark": 1}, "waterMark must be a string"),
        ({"callBackUrl": "example.com"}, "callBackUrl must be an http:// or https:// URL"),
        ({"taskType": "mj_img2img"}, "fileUrls is required for mj_img2img"),
        ({"taskType": "mj_img2img", "fileUrls": []}, "fileUrls is required for mj_img2img"),
        ({"taskType": "mj_img2img", "fileUrls": CAT}, "fileUrls must be an array of"),
        ({"taskType": "mj_img2img", "fileUrl": "data:image/png;base64,AAAA"}, "fileUrl must be an http"),
        ({"taskType": "mj_img2img", "fileUrl": CAT, "fileUrls": [CAT]}, "use either fileUrl or fileUrls"),
        ({"taskType": "mj_video", "motion": "low"}, "fileUrls is required for mj_video"),
        ({"taskType": "mj_video", "fileUrl": CAT}, "motion is required"),
        ({"taskType": "mj_video", "fileUrl": CAT, "motion": "medium"}, "motion must be one of high, low"),
        ({"taskType": "mj_video", "fileUrls": [CAT, CAT], "motion": "low"}, "fileUrls can only have one image"),
        ({"taskType": "mj_video_hd", "fileUrl": CAT, "motion": "low", "videoBatchSize": 3}, "videoBatchSize must be"),
        ({"taskType": "mj_video_hd", "fileUrl": CAT, "motion": "low", "videoBatchSize": True}, "videoBatchSize must"),
    ],
)
def test_a_field_that_is_wrong_is_named_in_a_422(strict: tuple[Sandbox, KieClient], fields: dict[str, Any], said: str):
    sandbox, kie = strict
    answer = kie.generate(**fields)
    assert answer["code"] == 422
    assert answer["msg"].startswith(said)
    assert sandbox.bill()["lines"] == []


@pytest.mark.parametrize("path", ["generate", "generateUpscale", "generateVary", "generateVideoExtend"])
def test_a_body_that_is_no_object_is_a_400(strict: tuple[Sandbox, KieClient], path: str):
    assert strict[1].post(f"mj/{path}", ["x"])["code"] == 400


@pytest.mark.parametrize("path", ["generate", "generateUpscale", "generateVary", "generateVideoExtend"])
@pytest.mark.parametrize(("token", "code"), [("Bearer invalid", 401), ("", 401), ("Bearer used-up", 402)])
def test_a_bad_or_empty_account_is_told_in_the_body(
    strict: tuple[Sandbox, KieClient], path: str, token: str, code: int
):
    assert strict[1].post(f"mj/{path}", {}, Authorization=token)["code"] == code


def test_a_path_that_does_not_exist_is_a_404_in_its_own_form(client: Client):
    answer = client.post("/api/v1/mj/describe", {})
    assert answer.status == 404
    assert answer.json()["code"] == 404
    assert list(answer.json()) == ["code", "msg"]


# --- follow-ups ---


@pytest.mark.parametrize(("path", "index"), [("Upscale", 0), ("Upscale", 3), ("Vary", 0), ("Vary", 4)])
def test_a_follow_up_takes_an_index_and_notes_which(sandbox: Sandbox, kie: KieClient, path: str, index: int):
    example = payload(f"{path.lower()}_request.json", "kie")
    parent = kie.made()
    answer = kie.post(f"mj/generate{path}", example | {"taskId": parent, "imageIndex": index, "callBackUrl": NOBODY})
    assert shape(answer) == shape(payload(f"{path.lower()}_response.json", "kie"))
    entry = sandbox.log("submit")[-1]
    assert (entry["image_index"], entry["action"]) == (index, f"mj_{path.lower()}")


@pytest.mark.parametrize(
    ("path", "index"), [("Upscale", 4), ("Upscale", -1), ("Upscale", "1"), ("Vary", 5), ("Vary", None)]
)
def test_an_index_out_of_range_is_refused(kie: KieClient, path: str, index: Any):
    answer = kie.post(f"mj/generate{path}", {"taskId": kie.made(), "imageIndex": index})
    assert answer["code"] == 422
    assert answer["msg"].startswith("imageIndex ")


@pytest.mark.parametrize("path", ["Upscale", "Vary"])
def test_a_follow_up_needs_four_finished_pictures(kie: KieClient, path: str):
    def code(task_id: str) -> int:
        return kie.post(f"mj/generate{path}", {"taskId": task_id, "imageIndex": 1})["code"]

    upscaled = kie.finished(kie.submit("mj/generateUpscale", taskId=kie.made(), imageIndex=1))
    varied = kie.finished(kie.submit("mj/generateVary", taskId=kie.made(), imageIndex=1))
    tasks = ["0" * 32, kie.video(videoBatchSize=4), kie.made("tiny: x sandbox:fail"), upscaled, varied]
    assert [code(task_id) for task_id in tasks] == [404, 422, 422, 422, 200]


def test_a_video_is_extended_as_in_the_example(kie: KieClient):
    example = payload("video_extend_request.json", "kie") | {"callBackUrl": NOBODY}
    parent = kie.video(videoBatchSize=2)
    answer = kie.post("mj/generateVideoExtend", example | {"taskId": parent, "index": 1})
    assert shape(answer) == shape(payload("video_extend_response.json", "kie"))
    again = kie.finished(answer["data"]["taskId"])
    assert kie.submit("mj/generateVideoExtend", taskType="mj_video_extend_auto", taskId=again, index=0)


@pytest.mark.parametrize(
    ("fields", "code", "said"),
    [
        ({"prompt": ""}, 422, "prompt is required"),
        ({"prompt": "x" * 2001}, 422, "prompt must have at most 2000"),
        ({"taskType": "mj_video"}, 422, "taskType must be one of mj_video_extend_manual, mj_video_extend_auto"),
        ({"index": 1}, 422, "index must be less than 1"),
        ({"index": None}, 422, "index is required"),
        ({"taskId": "nothing"}, 404, "The original task does not exist"),
    ],
)
def test_an_extension_that_cannot_be_is_refused(kie: KieClient, fields: dict[str, Any], code: int, said: str):
    body = {"taskType": "mj_video_extend_manual", "taskId": kie.video(), "index": 0, "prompt": "go on"}
    answer = kie.post("mj/generateVideoExtend", body | fields)
    assert answer["code"] == code
    assert answer["msg"].startswith(said)


def test_a_picture_cannot_be_extended(kie: KieClient):
    body = {"taskType": "mj_video_extend_auto", "taskId": kie.made(), "index": 0}
    assert kie.post("mj/generateVideoExtend", body)["msg"] == "The original task has no videos"


VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["mj_video", CAT])
NAMES = st.sampled_from(sorted({*GENERATE, *EXTEND, *VARY}))


@given(VALUES | st.dictionaries(NAMES, VALUES | st.lists(VALUES) | st.dictionaries(st.text(), VALUES)))
def test_whatever_is_sent_is_checked_without_a_crash(body: object):
    for check in (check_generate, check_extend, lambda body: check_fields(body, UPSCALE, "taskId", "imageIndex")):
        with contextlib.suppress(Refusal):
            check(body)
