"""Kie.ai beyond the contract: what exactly is sent."""

import json
from typing import Any

import pytest
import responses

from tests.worker.providers.contract import send
from tests.worker.providers.dialects.dialect import PAYLOADS
from worker.errors import RequestInvalid
from worker.generation import GenerationRequest, Operation
from worker.providers import Mark, provider_class
from worker.providers.kie import Kie
from worker.settings.settings import Settings

ROOT = "https://api.kie.ai/api/v1"
LINK = "https://studio.test/cat.png"
RESULT = "https://tempfile.aiquickdraw.com/v/42ea4a4250571eb18361bd2e309c8e8a_0_0.jpeg"
MARK = Mark("a1", "https://studio.test/callbacks/kie/a1/k1.mac")


def kie(**more: Any) -> Kie:
    return Kie(Settings(kie_api_key="tok", **more))


def payload(name: str) -> Any:
    return json.loads((PAYLOADS / "kie" / name).read_bytes())


def imagine(prompt: str = "a cat", **options: Any) -> GenerationRequest:
    return GenerationRequest(operation=Operation.IMAGINE, prompt=prompt, options=options)


def video(**options: Any) -> GenerationRequest:
    return GenerationRequest(operation=Operation.VIDEO, prompt="a cat runs", options={"images": [LINK], **options})


def follow_up(operation: Operation, action: str, prompt: str = "", **options: Any) -> GenerationRequest:
    return GenerationRequest(
        operation=operation, prompt=prompt, options=options, action=action, parent={"task_id": "t0"}
    )


def submitted(request: GenerationRequest, path: str = "generate", mark: Mark = MARK, **settings: Any) -> dict[str, Any]:
    """The body that a submission sends."""
    with responses.RequestsMock() as mock:
        mock.post(f"{ROOT}/mj/{path}", json={"code": 200, "msg": "success", "data": {"taskId": "t1"}})
        assert send(kie(**settings), request, mark).task_id == "t1"
        (call,) = mock.calls
    assert call.request.headers["Authorization"] == "Bearer tok"
    return json.loads(call.request.body)


# --- pictures


def test_words_alone_become_a_picture():
    assert submitted(imagine()) == {"taskType": "mj_txt2img", "prompt": "a cat", "callBackUrl": MARK.callback_url}
    assert submitted(imagine(), mark=Mark("a1", None)) == {"taskType": "mj_txt2img", "prompt": "a cat"}


def test_every_documented_option_has_its_field():
    body = submitted(
        imagine(
            images=[LINK],
            aspect_ratio="16:9",
            version=7,
            speed="relax",
            chaos="10",
            stylize=1,
            weird=1,
            watermark="mine",
            translation=False,
        )
    )

    expected = payload("generate_request.json")
    assert body == {
        **{name: expected[name] for name in ("aspectRatio", "version", "variety", "stylization", "weirdness", "speed")},
        "taskType": "mj_img2img",
        "prompt": "a cat",
        "fileUrls": [LINK],
        "waterMark": "mine",
        "enableTranslation": False,
        "callBackUrl": MARK.callback_url,
    }


@pytest.mark.parametrize(
    ("options", "task_type"),
    [
        ({"images": [LINK, RESULT]}, "mj_img2img"),
        ({"style_images": [LINK, RESULT]}, "mj_style_reference"),
    ],
)
def test_pictures_are_used_for_what_they_were_given_for(options, task_type):
    body = submitted(imagine(**options))

    assert (body["taskType"], body["fileUrls"]) == (task_type, [LINK, RESULT])


def test_an_omni_reference_may_have_a_weight():
    body = submitted(imagine(omni_image=LINK, omni_weight="500"))

    assert (body["taskType"], body["fileUrls"], body["ow"]) == ("mj_omni_reference", [LINK], 500)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            {"images": LINK, "style_images": LINK},
            r"Kie\.ai accepts only one of images or style_images at a time; .*Ace",
        ),
        ({"images": LINK, "omni_image": LINK, "style_images": LINK}, "images, style_images or omni_image"),
        ({"omni_image": LINK, "speed": "fast"}, "no option 'speed' for a request with an omni_image; .*Ace"),
        ({"omni_weight": 5, "images": LINK}, "omni_weight requires an omni_image"),
    ],
)
def test_options_that_do_not_go_together_are_refused(options, sentence):
    with pytest.raises(RequestInvalid, match=sentence):
        kie().translate(imagine(**options))


def test_who_is_said_to_combine_them_has_them_all():
    options = provider_class("acedata").capabilities[Operation.IMAGINE].options

    assert {"images", "style_images", "omni_image", "omni_weight", "speed"} <= options.keys()


@pytest.mark.parametrize(
    ("option", "value", "allowed"),
    [
        ("aspect_ratio", "7:3", "1:2, 9:16, 2:3, 3:4, 5:6, 6:5, 4:3, 3:2, 1:1, 16:9 or 2:1"),
        ("version", "8.1", "7, 6.1, 6, 5.2, 5.1 or niji6"),
        ("chaos", 7, "an integer from 0 to 100 in steps of 5"),
        ("omni_weight", 0, "an integer from 1 to 1000"),
    ],
)
def test_a_value_that_its_pages_do_not_know_is_refused(option, value, allowed):
    with pytest.raises(RequestInvalid, match=rf"option {option}: .*expected {allowed}"):
        kie().translate(imagine(**{option: value}))


# --- films


def test_a_film_is_small_and_lively_unless_it_is_said_otherwise():
    assert submitted(video()) == {
        "taskType": "mj_video",
        "prompt": "a cat runs",
        "fileUrls": [LINK],
        "motion": "high",
        "callBackUrl": MARK.callback_url,
    }
    body = submitted(video(video_size="720p", motion="low", videos="4", aspect_ratio="16:9"))
    assert (body["taskType"], body["motion"], body["videoBatchSize"]) == ("mj_video_hd", "low", 4)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"images": [LINK, LINK]}, "images: invalid value a list of 2"),
        ({"videos": 3}, "videos: invalid value '3', expected 1, 2 or 4"),
        ({"speed": "fast"}, r"Kie\.ai has no option 'speed' for video.*Ace Data Cloud"),
        ({"omni_weight": 5}, "has no option 'omni_weight' for video"),
    ],
)
def test_a_film_takes_one_picture_and_no_speed(options, sentence):
    with pytest.raises(RequestInvalid, match=sentence):
        kie().translate(video(**options))


# --- follow-ups


@pytest.mark.parametrize(("action", "index"), [("upscale1", 0), ("upscale4", 3)])
def test_pictures_are_counted_from_zero_to_be_enlarged(action, index):
    body = submitted(follow_up(Operation.UPSCALE, action, "left out", watermark="w"), "generateUpscale")

    assert body == {"taskId": "t0", "imageIndex": index, "waterMark": "w", "callBackUrl": MARK.callback_url}
    assert body.keys() == payload("upscale_request.json").keys()


@pytest.mark.parametrize(("base", "first"), [({}, 1), ({"kie_vary_base": 0}, 0)])
def test_pictures_are_counted_from_a_setting_to_be_varied(base, first):
    indexes = [
        submitted(follow_up(Operation.VARIATION, f"variation{number}"), "generateVary", **base)["imageIndex"]
        for number in (1, 2, 3, 4)
    ]

    assert indexes == [first, first + 1, first + 2, first + 3]


def test_a_film_goes_on_by_itself_or_as_a_prompt_says():
    alone = submitted(follow_up(Operation.VIDEO_EXTEND, "extend1"), "generateVideoExtend")
    told = submitted(follow_up(Operation.VIDEO_EXTEND, "extend2", "faster", watermark="w"), "generateVideoExtend")

    assert (alone["taskType"], alone["index"], "prompt" in alone) == ("mj_video_extend_auto", 0, False)
    assert (told["taskType"], told["index"], told["prompt"]) == ("mj_video_extend_manual", 1, "faster")
    assert told.keys() == payload("video_extend_request.json").keys()


def test_a_follow_up_needs_its_parents_task():
    with pytest.raises(RequestInvalid, match="upscale1 needs the task_id of a parent"):
        kie().translate(
            GenerationRequest(operation=Operation.UPSCALE, prompt="", options={}, action="upscale1", parent={})
        )
