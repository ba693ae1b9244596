import json

import pytest
import urllib3

from tests.webhook.sandbox.helpers import Client, payload, shape
from webhook.sandbox import Sandbox

ASKED = {
    "describe": {"image_url": "https://cdn.example.com/old-harbour.png"},
    "translate": {"content": "纯白的天使"},
    "shorten": {"prompt": "a serene mountain lake at sunrise, mist rising from the water --ar 16:9 --v 6"},
}


def test_describe_answers_with_four_texts(client: Client):
    answer = client.post("/midjourney/describe", ASKED["describe"])
    assert shape(answer.json()) == shape(payload("describe_success.json"))
    assert len(answer.json()["descriptions"]) == 4
    assert "old-harbour" in answer.json()["descriptions"][0]


def test_describe_knows_the_pictures_of_the_sandbox(client: Client):
    link = client.made("tiny: a red fox")["raw_image_url"]
    assert "a red fox" in client.post("/midjourney/describe", {"image_url": link}).json()["descriptions"][0]


def test_translate_answers_with_one_text(client: Client):
    answer = client.post("/midjourney/translate", ASKED["translate"]).json()
    assert shape(answer) == shape(payload("translate_success.json"))


def test_seed_answers_with_the_seed_of_the_image(client: Client):
    grid = client.made()
    answer = client.post("/midjourney/seed", {"image_id": grid["image_id"]}).json()
    assert shape(answer) == shape(payload("seed_success_shape.json"))
    assert answer == client.post("/midjourney/seed", {"image_id": grid["image_id"]}).json()


def test_seed_needs_an_image_that_is_known(client: Client):
    answer = client.post("/midjourney/seed", {"image_id": "1"})
    assert (answer.status, answer.json()["error"]["message"]) == (400, "image_id is unknown")


def test_shorten_answers_with_up_to_five_prompts_that_keep_the_parameters(client: Client):
    prompts = client.post("/midjourney/shorten", ASKED["shorten"]).json()["prompts"]
    assert len(set(prompts)) == len(prompts) == 5
    assert all(prompt.endswith("--ar 16:9 --v 6") for prompt in prompts)
    assert all(len(prompt) < len(ASKED["shorten"]["prompt"]) for prompt in prompts)


@pytest.mark.parametrize("endpoint", ASKED)
def test_texts_are_charged_and_listed(sandbox: Sandbox, client: Client, endpoint: str):
    text = client.post(f"/midjourney/{endpoint}", ASKED[endpoint]).json()
    (line,) = sandbox.bill()["lines"]
    assert (line["provider"], line["action"], line["callback_url"]) == ("acedata", endpoint, None)
    (task,) = client.get("/sandbox/tasks").json()
    assert (task["files"], task["text"]) == ([], text)
    record = client.post("/midjourney/tasks", {"id": line["task_id"]}).json()
    assert record["type"] == endpoint
    assert text.items() <= record["response"].items()
    assert next(iter(text)) in client.get("/").data.decode()


@pytest.mark.parametrize("endpoint", [*ASKED, "seed"])
@pytest.mark.parametrize("body", [{}, [], {"image_url": 1, "content": 1, "prompt": 1, "image_id": 1}])
def test_what_is_missing_or_wrong_is_refused(sandbox: Sandbox, client: Client, endpoint: str, body: object):
    answer = client.post(f"/midjourney/{endpoint}", body)
    assert answer.status == 400
    assert shape(answer.json()) == shape(payload("error_400_bad_request.json"))
    assert sandbox.bill()["lines"] == []


@pytest.mark.parametrize(
    ("knob", "status", "charges"),
    [
        ("too_many", 429, 0),
        ("unavailable", 503, 0),
        ("error_before", 500, 0),
        ("reject", 403, 0),
        ("error_after", 500, 1),
        ("fail", 400, 0),
    ],
)
@pytest.mark.parametrize(("endpoint", "field"), [("describe", "image_url"), ("translate", "content")])
def test_a_word_in_the_text_turns_a_knob(
    sandbox: Sandbox, client: Client, endpoint: str, field: str, knob: str, status: int, charges: int
):
    assert client.post(f"/midjourney/{endpoint}", {field: f"https://x.org/?sandbox:{knob}"}).status == status
    assert sandbox.bill()["charges"] == charges


def test_texts_get_lost_on_the_way_as_well(sandbox: Sandbox, client: Client):
    def shorten(knob: str) -> urllib3.BaseHTTPResponse:
        return client.post("/midjourney/shorten", {"prompt": f"a fox sandbox:{knob}"})

    with pytest.raises(json.JSONDecodeError):
        shorten("garbled").json()
    assert shorten("no_task_id").json() == {"success": True}
    with pytest.raises(urllib3.exceptions.ProtocolError):
        shorten("reset")
    assert sandbox.bill()["charges"] == 3
