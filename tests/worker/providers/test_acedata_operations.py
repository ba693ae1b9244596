"""Ace Data Cloud beyond pictures from words: edits, films, regions, texts."""

import base64
import io
import json
from typing import Any

import pytest
import responses
from PIL import Image

from tests.worker.providers.contract import send
from tests.worker.providers.loopback import Loopback, reply, silence
from tests.worker.providers.test_acedata import GRID, MARK, PAYLOADS, POLLED, ace, fetch, parse, parse_file, submitted
from worker.errors import NotTaken, Rejected, RequestInvalid, Uncertain
from worker.generation import Accepted, AssetKind, GenerationRequest, Link, Operation, Outcome, Status
from worker.providers.acedata import AceDataCloud, adapter
from worker.settings.settings import Settings

LINK = "https://cdn.acedata.cloud/jgo1cw.jpg"
FILM = "https://storage.fonedis.cc//video/9ff3783e/0_0.mp4"


def payload(name: str) -> Any:
    return json.loads((PAYLOADS / name).read_bytes())


def request(operation: Operation, prompt: str = "", **options: Any) -> GenerationRequest:
    return GenerationRequest(operation=operation, prompt=prompt, options=options)


def extend(action: str = "extend2", **options: Any) -> GenerationRequest:
    parent = {"video_id": "1751816807896311"}
    return GenerationRequest(
        operation=Operation.VIDEO_EXTEND,
        prompt="A cat sitting on a table",
        options=options,
        action=action,
        parent=parent,
    )


# --- edits and films


def test_an_edit_sends_what_the_vendors_example_sends():
    edit = request(Operation.EDIT, "A cat sitting on a table", images=[LINK], split_images=True)

    assert submitted(edit, path="edits") == payload("edits_request.json") | {"async": True}


def test_an_edit_takes_a_mask_and_every_speed():
    edit = request(Operation.EDIT, "a cat", images=LINK, mask=GRID, speed="relax")

    assert submitted(edit, MARK, path="edits") == {
        "action": "generate",
        "prompt": "a cat",
        "image_url": LINK,
        "mask": GRID,
        "mode": "relax",
        "callback_url": MARK.callback_url,
    }


def test_a_film_sends_what_the_vendors_example_sends():
    film = request(Operation.VIDEO, "A cat sitting on a table", images=[LINK])

    assert submitted(film, path="videos") == payload("videos_request_generate.json") | {"async": True}


def test_a_film_takes_its_end_its_size_and_a_loop():
    film = request(Operation.VIDEO, "a cat", images=LINK, end_image=GRID, speed="turbo", video_size="480p", loop=True)
    body = submitted(film, MARK, path="videos")

    assert (body["end_image_url"], body["mode"], body["resolution"], body["loop"]) == (GRID, "turbo", "480p", True)
    assert body["callback_url"] == MARK.callback_url


def test_a_longer_film_sends_what_the_vendors_example_sends():
    assert submitted(extend(), path="videos") == payload("videos_request_extend.json") | {"async": True}


@pytest.mark.parametrize(("action", "index"), [("extend1", 0), ("extend2", 1), ("extend3", 2), ("extend4", 3)])
def test_films_are_counted_from_zero(action, index):
    assert submitted(extend(action), path="videos")["video_index"] == index


def test_a_film_has_no_relaxed_speed():
    with pytest.raises(RequestInvalid, match=r"option speed: invalid value 'relax', .*fast or turbo"):
        ace().translate(request(Operation.VIDEO, "a cat", images=LINK, speed="relax"))


@pytest.mark.parametrize("operation", [Operation.EDIT, Operation.VIDEO])
def test_both_need_a_prompt_and_a_picture(operation):
    with pytest.raises(RequestInvalid, match="the prompt is empty"):
        ace().translate(request(operation, images=LINK))
    with pytest.raises(RequestInvalid, match="needs the option images"):
        ace().translate(request(operation, "a cat"))


@pytest.mark.parametrize("parent", [{}, {"image_id": "1"}])
def test_a_film_is_made_longer_only_on_a_film(parent):
    with pytest.raises(RequestInvalid, match="extend1 needs the video_id"):
        ace().translate(
            GenerationRequest(
                operation=Operation.VIDEO_EXTEND, prompt="a cat", options={}, action="extend1", parent=parent
            )
        )


def test_a_film_brings_its_cover_and_what_can_be_made_longer():
    outcome = parse_file("callback_videos_success.json")

    assert [link.kind for link in outcome.links] == [AssetKind.IMAGE, *[AssetKind.VIDEO] * 4]
    assert outcome.actions == ("extend1", "extend2", "extend3", "extend4")
    assert outcome.parent == {"video_id": "1751818512924054"}


def test_only_films_that_are_there_can_be_made_longer():
    assert parse(success=True, video_id=7, video_urls=[FILM]).actions == ("extend1",)
    assert parse(success=True, video_id=7, image_url=GRID).actions == ()
    assert parse(success=True, video_urls=[FILM]).actions == ()


def test_an_edit_brings_the_whole_and_its_parts_and_offers_nothing():
    outcome = parse_file("edits_sync_success.json")

    assert len(outcome.links) == 5
    assert outcome.actions == ()
    assert outcome.parent == {"image_id": "1391372193836826624"}


def test_the_links_of_a_film_in_the_making_are_left_alone():
    outcome = parse(success=True, task_id="t1", progress=35, image_url=GRID, video_id=7, video_urls=[FILM])

    assert outcome == Outcome(status=Status.IN_PROGRESS, task_id="t1", progress=35)


def test_the_record_of_a_film_is_read_as_its_callback():
    response = payload("videos_sync_success.json")
    record = {"id": response["task_id"], "type": "videos", "response": response, "finished_at": 1751816900.5}
    outcomes, _ = fetch(response["task_id"], reply=record)

    assert outcomes == {response["task_id"]: parse_file("videos_sync_success.json")}


# --- several pictures


def test_a_blend_writes_its_pictures_before_the_words():
    blend = request(Operation.BLEND, "The bear is holding the chainsaw --iw 2", images=[LINK, GRID])

    assert submitted(blend) == {
        "action": "generate",
        "prompt": f"{LINK} {GRID} The bear is holding the chainsaw --iw 2",
        "async": True,
    }


def test_a_blend_needs_no_words():
    assert submitted(request(Operation.BLEND, images=[LINK, GRID], aspect_ratio="1:1"))["prompt"] == (
        f"{LINK} {GRID} --ar 1:1"
    )


@pytest.mark.parametrize("count", [1, 6])
def test_a_blend_takes_two_to_five_pictures(count):
    with pytest.raises(RequestInvalid, match="expected 2 to 5 links to images"):
        ace().translate(request(Operation.BLEND, images=[LINK] * count))


def test_links_before_the_words_count_as_prompt():
    with pytest.raises(RequestInvalid, match=r"the prompt has 60\d\d characters"):
        ace().translate(request(Operation.IMAGINE, "x" * 5990, images=LINK))


# --- a region


def data_link(image: Image.Image, kind: str = "PNG") -> str:
    file = io.BytesIO()
    image.save(file, kind)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(file.getvalue()).decode()}"


def region(mask: str) -> GenerationRequest:
    return GenerationRequest(
        operation=Operation.REGION,
        prompt="a hat",
        options={"mask": mask},
        action="variation_region",
        parent={"image_id": "7"},
    )


def sent_mask(mask: str) -> Image.Image:
    sent = submitted(region(mask))["mask"]
    assert not sent.startswith("data:")
    return Image.open(io.BytesIO(base64.b64decode(sent, validate=True)))


def test_a_region_sends_what_the_vendors_example_sends():
    body = submitted(region(data_link(Image.new("L", (8, 8)))))

    assert body.keys() == payload("variation_region_request.json").keys() | {"async"}
    assert body["mask"].startswith(payload("variation_region_request.json")["mask"][:5])
    assert (body["action"], body["image_id"], body["prompt"]) == ("variation_region", "7", "a hat")


def test_a_mask_behind_a_link_goes_as_it_is():
    assert submitted(region(GRID))["mask"] == GRID


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_mask_becomes_a_gray_jpeg_of_the_same_size_and_white_stays_white(kind):
    drawn = Image.new("RGB", (640, 360), "black")
    drawn.paste("white", (0, 0, 320, 360))
    mask = sent_mask(data_link(drawn, kind))

    assert (mask.format, mask.mode, mask.size) == ("JPEG", "L", (640, 360))
    assert mask.getpixel((100, 100)) >= 250
    assert mask.getpixel((500, 100)) <= 5


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGBA"])
def test_masks_of_every_kind_are_read(mode):
    assert sent_mask(data_link(Image.new("RGB", (32, 32), "white").convert(mode))).getpixel((16, 16)) >= 250


def test_what_is_transparent_is_not_redrawn():
    assert sent_mask(data_link(Image.new("RGBA", (32, 32), (255, 255, 255, 0)))).getpixel((16, 16)) == 0


@pytest.mark.parametrize(
    "content",
    [b"GIF89a", b"\x89PNG\r\n\x1a\n", b"<svg/>", base64.b64decode(data_link(Image.new("L", (64, 64)))[22:-40])],
)
def test_a_mask_that_is_no_picture_is_refused(content):
    broken = f"data:image/png;base64,{base64.b64encode(content).decode()}"
    with pytest.raises(RequestInvalid, match="option mask"):
        ace().translate(region(broken))


def test_a_mask_larger_than_any_picture_is_refused():
    with pytest.raises(RequestInvalid, match="5000 x 5000 pixels"):
        ace().translate(region(data_link(Image.new("1", (5000, 5000)))))


def test_a_region_needs_a_mask():
    with pytest.raises(RequestInvalid, match="region at Ace Data Cloud needs the option mask"):
        ace().translate(
            GenerationRequest(
                operation=Operation.REGION, prompt="", options={}, action="variation_region", parent={"image_id": "7"}
            )
        )


# --- texts

SEED = GenerationRequest(
    operation=Operation.SEED, prompt="a cat", options={}, action="seed", parent={"image_id": "1234197197067915365"}
)
TEXTS = [
    (request(Operation.DESCRIBE, images=[LINK]), {"image_url": LINK}, payload("describe_success.json")),
    (request(Operation.TRANSLATE, "天使"), {"content": "天使"}, payload("translate_success.json")),
    (request(Operation.SHORTEN, "a long prompt"), {"prompt": "a long prompt"}, {"prompts": ["a", "b", "c", "d", "e"]}),
    (SEED, payload("seed_request.json"), payload("seed_success_shape.json")),
]


def answered(wanted: GenerationRequest, answer: Any) -> Outcome | Accepted:
    with Loopback(reply(200, answer)) as server:
        return send(over(server.url), wanted, MARK)


def over(url: str) -> AceDataCloud:
    return AceDataCloud(Settings(acedatacloud_api_token="tok", acedatacloud_base_url=url))


@pytest.mark.parametrize(("wanted", "body", "answer"), TEXTS)
def test_a_text_is_the_reply_itself(wanted, body, answer):
    with responses.RequestsMock() as mock:
        mock.post(f"https://api.acedata.cloud/midjourney/{wanted.operation}", json=answer)
        outcome = send(ace(), wanted, MARK)
        assert json.loads(mock.calls[0].request.body) == body

    assert outcome == Outcome(status=Status.SUCCEEDED, text=answer)


@pytest.mark.parametrize(("wanted", "body", "answer"), TEXTS)
@pytest.mark.parametrize("lacking", [{}, [], None, "x", {"success": True}, {"task_id": "t1"}])
def test_a_reply_without_the_text_may_have_been_charged(wanted, body, answer, lacking):
    with pytest.raises(Uncertain) as caught:
        answered(wanted, lacking)

    assert caught.value.code == "no_text"


@pytest.mark.parametrize("value", [None, "", " ", [], [""], ["a", None], {"0": "a"}, True, 1.5])
@pytest.mark.parametrize(("wanted", "body", "answer"), TEXTS)
def test_a_text_of_another_type_is_no_text(wanted, body, answer, value):
    with pytest.raises(Uncertain):
        answered(wanted, dict.fromkeys(answer, value))


def test_a_seed_that_came_as_a_number_keeps_every_digit():
    outcome = answered(SEED, {"seed": 1515630083539206144})

    assert isinstance(outcome, Outcome)
    assert outcome.text == {"seed": "1515630083539206144"}


@pytest.mark.parametrize(
    ("status", "code", "expected"), [(403, "forbidden", Rejected), (429, "x", NotTaken), (504, "timeout", Uncertain)]
)
def test_a_text_can_be_refused_as_a_picture_can(status, code, expected):
    refusal = {"error": {"code": code, "message": "no"}}
    with Loopback(reply(status, refusal)) as server, pytest.raises(expected):
        send(over(server.url), TEXTS[0][0], MARK)


def test_a_text_is_waited_for_but_not_for_ever(monkeypatch):
    monkeypatch.setattr(adapter, "TEXT_PATIENCE", 0.1)
    with Loopback(silence) as server, pytest.raises(Uncertain) as caught:
        send(over(server.url), TEXTS[1][0], POLLED)

    assert (caught.value.code, len(server.requests)) == ("read_timeout", 1)


def test_the_record_of_a_text_holds_it_too():
    answer = payload("describe_success.json")
    outcomes, _ = fetch("t1", reply={"id": "t1", "type": "describe", "response": answer, "finished_at": 1.5})

    assert outcomes["t1"].text == answer


@pytest.mark.parametrize("kind", ["imagine", "translate", None, ["describe"], 5])
def test_a_record_of_another_kind_holds_no_text(kind):
    response = payload("describe_success.json") | {"image_url": GRID, "success": True}
    outcomes, _ = fetch("t1", reply={"id": "t1", "type": kind, "response": response})

    assert (outcomes["t1"].text, outcomes["t1"].links) == (None, (Link(GRID),))


@pytest.mark.parametrize(
    ("wanted", "named"),
    [
        (request(Operation.DESCRIBE), "describe at Ace Data Cloud needs the option images"),
        (request(Operation.TRANSLATE, " "), "the prompt is empty: translate needs one"),
        (
            GenerationRequest(operation=Operation.SEED, prompt="", options={}, action="seed", parent={}),
            "seed needs the image_id",
        ),
        (
            GenerationRequest(operation=Operation.SEED, prompt="", options={}),
            "seed is a follow-up: it needs a parent and its action, seed",
        ),
    ],
)
def test_what_a_text_needs_is_named(wanted, named):
    with pytest.raises(RequestInvalid, match=named):
        ace().translate(wanted)
