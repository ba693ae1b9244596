"""OhMyGPT beyond the contract: what exactly is sent."""

from pathlib import Path
from urllib.parse import parse_qs

import pytest

from tests.worker.providers.contract import send
from tests.worker.providers.dialects.ohmygpt import ACTIONS, FILE
from tests.worker.providers.loopback import Loopback, reply
from worker.errors import RequestInvalid
from worker.generation import GenerationRequest, Operation
from worker.providers import Mark
from worker.providers.ohmygpt import OhMyGPT
from worker.settings.settings import Settings

PAYLOADS = Path(__file__).parents[2] / "payloads" / "ohmygpt"
WEBHOOK = "https://studio.test/callbacks/ohmygpt/a1/k1.mac"
MARK = Mark("a1", WEBHOOK)
PARENT = {"task_id": "20", "upscale1": ACTIONS["upscale1"], "variation_region": ACTIONS["variation_region"]}
OTHER = FILE.replace("aGVs", "bGVs")


def vendor(url: str = "http://127.0.0.1:1", encoding: str = "form") -> OhMyGPT:
    return OhMyGPT(Settings(ohmygpt_api_key="key", ohmygpt_base_url=url, ohmygpt_encoding=encoding))


def submitted(request: GenerationRequest, mark: Mark = MARK) -> tuple[str, dict[str, list[str]]]:
    """The path and the fields of the form that a submission sends."""
    with Loopback(reply(200, {"statusCode": 200, "message": "Success", "data": 2})) as server:
        send(vendor(server.url), request, mark)
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    return head.split()[1].decode(), parse_qs(body.decode(), keep_blank_values=True, strict_parsing=True)


def imagine(prompt: str = "a cat", **options) -> GenerationRequest:
    return GenerationRequest(operation=Operation.IMAGINE, prompt=prompt, options=options)


def test_an_imagine_sends_the_fields_of_the_vendors_example():
    example = (PAYLOADS / "imagine_request.form.txt").read_text().splitlines()
    fields = {line.partition("=")[0] for line in example}

    path, body = submitted(imagine("a cat --ar 73:88", speed="fast", images=[FILE, OTHER]))

    assert path == "/api/v1/ai/draw/mj/imagine"
    assert body.keys() == fields
    assert body["base64Array"] == [FILE, OTHER]
    assert (body["model"], body["type"], body["webhook"]) == (["midjourney"], ["FAST"], [WEBHOOK])


def test_links_stand_at_the_head_of_the_prompt_and_parameters_at_its_end():
    request = imagine(images=["https://a.test/1.png", FILE], aspect_ratio="16:9", stylize=750, version="niji 7")

    _, body = submitted(request)

    assert body["prompt"] == ["https://a.test/1.png a cat --ar 16:9 --stylize 750 --niji 7"]
    assert body["base64Array"] == [FILE]


@pytest.mark.parametrize(("speed", "pool"), [("relax", "NORMAL"), ("fast", "FAST")])
def test_the_speed_is_the_vendors_pool(speed, pool):
    assert submitted(imagine(speed=speed))[1]["type"] == [pool]


def test_turbo_is_refused():
    with pytest.raises(RequestInvalid, match="expected relax or fast"):
        vendor().translate(imagine(speed="turbo"))


@pytest.mark.parametrize("flag", ["--v", "--version", "--niji"])
def test_a_version_that_the_prompt_names_already_is_refused(flag):
    with pytest.raises(RequestInvalid, match=f"option version: the prompt already has {flag}"):
        vendor().translate(imagine(f"a cat {flag} 6", version="7"))


def test_a_blend_sends_its_files_and_their_shape():
    request = GenerationRequest(
        operation=Operation.BLEND, prompt="", options={"images": [FILE, OTHER], "aspect_ratio": "2:3"}
    )

    path, body = submitted(request, Mark("a1", None))

    assert path == "/api/v1/ai/draw/mj/blend"
    assert body == {"model": ["midjourney"], "base64Array": [FILE, OTHER], "dimensions": ["PORTRAIT"]}


def test_a_description_sends_its_file():
    path, body = submitted(
        GenerationRequest(operation=Operation.DESCRIBE, prompt="", options={"images": [FILE]}), Mark("a1", None)
    )

    assert path == "/api/v1/ai/draw/mj/describe"
    assert body == {"model": ["midjourney"], "base64": [FILE]}


def test_a_follow_up_sends_the_button_of_its_parent_in_its_parents_pool():
    request = GenerationRequest(
        operation=Operation.UPSCALE, prompt="a cat", options={}, action="upscale1", parent={**PARENT, "pool": "NORMAL"}
    )

    path, body = submitted(request, Mark("a1", None))

    assert path == "/api/v1/ai/draw/mj/action"
    assert body == {
        "model": ["midjourney"],
        "taskId": ["20"],
        "customId": [ACTIONS["upscale1"]],
        "type": ["NORMAL"],
    }


def test_a_region_sends_its_mask():
    request = GenerationRequest(
        operation=Operation.REGION, prompt="", options={"mask": FILE}, action="variation_region", parent=PARENT
    )

    assert submitted(request)[1]["base64Mask"] == [FILE]


@pytest.mark.parametrize("parent", [{}, {"task_id": "20"}, {"upscale1": ACTIONS["upscale1"]}])
def test_a_follow_up_needs_the_id_and_the_button_of_its_parent(parent):
    with pytest.raises(RequestInvalid, match="parent"):
        vendor().translate(
            GenerationRequest(operation=Operation.UPSCALE, prompt="", options={}, action="upscale1", parent=parent)
        )


def test_as_json_the_task_id_is_a_number_again():
    with Loopback(reply(200, {"statusCode": 200, "message": "Success", "data": 2})) as server:
        request = GenerationRequest(
            operation=Operation.UPSCALE, prompt="", options={}, action="upscale1", parent=PARENT
        )
        send(vendor(server.url, "json"), request, MARK)

    assert b"application/json" in server.requests[0]
    assert server.bodies[0]["taskId"] == 20
