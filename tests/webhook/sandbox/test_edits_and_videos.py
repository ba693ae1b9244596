import io

import av
import pytest
import urllib3

from tests.patience import patient
from tests.webhook.sandbox.helpers import Client, Receiver, mask, open_picture, payload, shape, until
from webhook.sandbox import Sandbox, running

EDIT = {"prompt": "tiny: a cat", "image_url": "https://cdn.example.com/cat.jpg", "action": "generate"}
VIDEO = {"prompt": "a cat", "image_url": "https://cdn.example.com/cat.jpg", "action": "generate"}


def made(client: Client, endpoint: str, body: dict[str, object]) -> dict[str, object]:
    answer = client.post(f"/midjourney/{endpoint}", body)
    assert answer.status == 200, answer.data
    return answer.json()


def film(client: Client, link: str) -> tuple[str, int]:
    """Codec and side."""
    answer = client.get(link)
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "video/mp4"
    with av.open(io.BytesIO(answer.data)) as container:
        stream = container.streams.video[0]
        assert sum(1 for _ in container.decode(stream)) > 0
        return stream.codec_context.name, stream.width


# --- edits ---


def test_an_edit_answers_in_the_documented_shape(client: Client):
    answer = made(client, "edits", EDIT | {"split_images": True})
    documented = payload("edits_sync_success.json")
    assert shape(answer) == shape(documented)
    assert answer["image_url"] == answer["raw_image_url"]
    assert len(answer["sub_image_urls"]) == 4
    assert all("?" not in link for link in answer["sub_image_urls"])
    pictures = [client.get(link).data for link in (answer["image_url"], *answer["sub_image_urls"])]
    assert [open_picture(data).width for data in pictures] == [16, 8, 8, 8, 8]


def test_an_edit_has_parts_only_if_they_are_wanted(client: Client):
    assert "sub_image_urls" not in made(client, "edits", EDIT)


def test_an_edit_with_a_callback_is_acknowledged_and_told(sandbox: Sandbox, client: Client, receiver: Receiver):
    acknowledged = made(client, "edits", EDIT | {"split_images": True, "callback_url": receiver.url, "mask": mask()})
    assert acknowledged.keys() == payload("videos_submit_ack.json").keys()
    assert shape(receiver.first()) == shape(payload("edits_sync_success.json"))
    assert receiver.first()["task_id"] == acknowledged["task_id"]
    record = client.record(acknowledged["task_id"])
    assert record["type"] == "edits"
    assert record["request"]["image_url"] == EDIT["image_url"]
    (line,) = sandbox.bill()["lines"]
    assert (line["provider"], line["action"], line["callback_url"]) == ("acedata", "edits generate", receiver.url)


def test_an_edited_image_offers_no_follow_ups(client: Client):
    answer = client.imagine("", action="upscale1", image_id=made(client, "edits", EDIT)["image_id"])
    assert answer.status == 400
    assert answer.json()["error"]["message"] == "upscale1 is not available for this image"


# --- videos ---


def test_a_video_answers_in_the_documented_shape(client: Client):
    answer = made(client, "videos", VIDEO)
    assert shape(answer) == shape(payload("videos_sync_success.json"))
    assert list(answer) == list(payload("videos_sync_success.json"))
    assert all("//video/" in link and link.endswith(f"/0_{n}.mp4") for n, link in enumerate(answer["video_urls"]))
    assert open_picture(client.get(answer["image_url"]).data).width == answer["image_width"] == 64


def test_the_four_videos_are_real_and_differ(sandbox: Sandbox, client: Client):
    links = made(client, "videos", VIDEO)["video_urls"]
    assert {film(client, link) for link in links} == {("h264", 64)}
    assert len({sandbox.served(link)[0]["sha256"] for link in links}) == 4


@pytest.mark.parametrize(("resolution", "side"), [("480p", 42), ("720p", 64)])
def test_the_resolution_is_kept_to(client: Client, resolution: str, side: int):
    links = made(client, "videos", VIDEO | {"resolution": resolution})["video_urls"]
    assert film(client, links[0]) == ("h264", side)


def test_a_video_is_called_back_in_the_documented_shape(client: Client, receiver: Receiver):
    acknowledged = made(client, "videos", VIDEO | {"callback_url": receiver.url})
    assert acknowledged == {"task_id": acknowledged["task_id"]}
    assert shape(receiver.first()) == shape(payload("callback_videos_success.json"))


def test_a_video_can_be_extended_and_that_again(client: Client):
    first = made(client, "videos", VIDEO)
    extension = {"action": "extend", "prompt": "a cat", "video_id": first["video_id"], "video_index": 1}
    second = made(client, "videos", extension)
    assert shape(second) == shape(first)
    assert second["video_id"] != first["video_id"]
    assert made(client, "videos", extension | {"video_id": second["video_id"]})["success"] is True


@pytest.mark.parametrize(
    ("endpoint", "body", "sentence"),
    [
        ("edits", EDIT | {"image_url": None}, "image_url is required"),
        ("edits", EDIT | {"prompt": ""}, "prompt is required"),
        ("edits", EDIT | {"image_url": "cat.jpg"}, "image_url is not an http:// or https:// address"),
        ("edits", EDIT | {"action": "upscale1"}, "action must be one of generate"),
        ("edits", EDIT | {"mask": "AAAA"}, "mask is neither an address nor an image in Base64"),
        ("videos", {"prompt": "a cat"}, "image_url is required"),
        ("videos", VIDEO | {"mode": "relax"}, "mode must be one of fast, turbo"),
        ("videos", VIDEO | {"resolution": "1080p"}, "resolution must be one of 480p, 720p"),
        ("videos", VIDEO | {"loop": "yes"}, "loop has the wrong type: str"),
        ("videos", {"action": "extend", "prompt": "a cat"}, "video_id is required"),
        ("videos", {"action": "extend", "prompt": "a cat", "video_id": "1"}, "video_id is unknown"),
    ],
)
def test_wrong_fields_are_refused_and_cost_nothing(
    sandbox: Sandbox, client: Client, endpoint: str, body: object, sentence: str
):
    answer = client.post(f"/midjourney/{endpoint}", body)
    assert answer.status == 400
    assert answer.json()["error"] == {"code": "bad_request", "message": sentence}
    assert sandbox.bill()["charges"] == 0


def test_only_videos_that_exist_can_be_extended(client: Client):
    video_id = made(client, "videos", VIDEO)["video_id"]
    wrong = {"action": "extend", "prompt": "a cat", "video_id": video_id, "video_index": 4}
    assert client.post("/midjourney/videos", wrong).json()["error"]["message"] == "video_index must be from 0 to 3"


def test_a_video_shows_the_picture_under_its_link(client: Client):
    grid = client.made("a red fox")
    made(client, "videos", VIDEO | {"image_url": grid["raw_image_url"]})
    (video, _) = client.get("/sandbox/tasks").json()
    cover = open_picture(client.get(video["files"][-1]["link"]).data)
    assert cover.info["Description"].startswith("a red fox Job ID")


# --- their faults ---


def test_bare_links_die_at_their_time(http: urllib3.PoolManager):
    with running(delay=0, size=64, link_life=0) as sandbox:
        client = Client(sandbox.url, http)
        assert client.get(made(client, "videos", VIDEO)["image_url"]).status == 404


def test_dead_bare_links_are_dead_until_somebody_asks_again(client: Client, receiver: Receiver):
    made(client, "videos", VIDEO | {"prompt": "x sandbox:dead_links", "callback_url": receiver.url})
    body = receiver.first()
    assert client.get(body["video_urls"][0]).status == 404
    client.record(body["task_id"])
    assert client.get(body["video_urls"][0]).status == 200


def test_bare_links_that_are_dead_for_ever_stay_dead(client: Client):
    answer = made(client, "videos", VIDEO | {"prompt": "x sandbox:dead_links_forever"})
    client.record(answer["task_id"])
    assert client.get(answer["video_urls"][0]).status == 404


def test_nothing_is_there_before_it_is_finished(http: urllib3.PoolManager, receiver: Receiver):
    with running(delay=patient(0.5), size=64) as sandbox:
        client = Client(sandbox.url, http)
        made(client, "edits", EDIT | {"split_images": True, "callback_url": receiver.url})
        job = client.get("/sandbox/tasks").json()[0]
        assert (job["provider"], job["state"], job["files"]) == ("acedata", "running", [])
        receiver.first()
        assert len(client.get("/sandbox/tasks").json()[0]["files"]) == 5


def test_a_corrupt_video_cannot_be_played(sandbox: Sandbox, client: Client):
    link = made(client, "videos", VIDEO)["video_urls"][0]
    whole = client.get(link).data
    sandbox.set_faults({"corrupt": 1})
    data = client.get(link).data
    assert len(data) == len(whole)
    with pytest.raises((av.error.InvalidDataError, StopIteration)), av.open(io.BytesIO(data)) as container:
        next(container.decode(video=0))


def test_progress_of_videos_is_told_without_links(client: Client, receiver: Receiver):
    body = VIDEO | {"callback_url": receiver.url}
    client.post("/midjourney/videos", body, Accept="application/x-ndjson")
    until(lambda: len(receiver.bodies) == 3)
    assert [body["progress"] for body in receiver.bodies] == [35, 75, 100]
    assert ["video_urls" in body for body in receiver.bodies] == [False, False, True]


def test_the_page_shows_a_video_as_such(client: Client):
    made(client, "videos", VIDEO)
    page = client.get("/").data.decode()
    assert '<video src="/video/' in page
    assert "acedata · videos generate" in page
