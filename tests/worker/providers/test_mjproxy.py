"""midjourney-proxy beyond the contract: what exactly is sent, windows included, and what refusals mean."""

import pytest

from tests.worker.providers.contract import send
from tests.worker.providers.dialects.mjproxy import refusal
from tests.worker.providers.dialects.ohmygpt import ACTIONS, FILE
from tests.worker.providers.loopback import Loopback, hang_up, refused_port, reply
from worker.errors import ConfigurationError, NotTaken, Rejected, RequestInvalid, Uncertain
from worker.generation import Accepted, GenerationRequest, Operation
from worker.providers import Mark
from worker.providers.mjproxy import MidjourneyProxy
from worker.settings.settings import Settings

HOOK = "https://studio.test/callbacks/mjproxy/a1/k1.mac"
MARK = Mark("a1", HOOK)
OURS = {"state": "a1", "notifyHook": HOOK}
TASK_ID = "1320098173412546"
#: as the Java version leaves it, and as the C# version does
BARE = {"task_id": TASK_ID}
WITH_BUTTONS = BARE | ACTIONS
TAKEN = {"code": 1, "description": "成功", "result": "8498455807619990"}
#: the answer of the C# version to an action that needs more
WINDOW = {"code": 21, "description": "Waiting for window confirm", "result": "77", "properties": {"remix": True}}


def proxy(url: str = "http://127.0.0.1:1", **settings) -> MidjourneyProxy:
    return MidjourneyProxy(Settings(mjproxy_base_url=url, **settings))


def submitted(request: GenerationRequest, *answers: dict, **settings) -> tuple[Accepted, list[tuple[str, dict]]]:
    """What became of a submission, and each POST's path and body without what marks it as ours."""
    with Loopback(*(reply(200, answer) for answer in answers or (TAKEN,))) as server:
        submission = send(proxy(server.url, **settings), request, MARK)
    posts = [request.split()[1].decode() for request in server.requests]
    assert all(body.items() >= OURS.items() for body in server.bodies)
    bodies = [{name: value for name, value in body.items() if name not in OURS} for body in server.bodies]
    return submission, list(zip(posts, bodies, strict=True))


def follow_up(action: str, operation: Operation, parent: dict = WITH_BUTTONS, prompt: str = "", **options):
    return GenerationRequest(operation=operation, prompt=prompt, options=options, action=action, parent=parent)


def submit_error(request: GenerationRequest, *behaviours) -> tuple[type, int]:
    with Loopback(*behaviours) as server, pytest.raises((NotTaken, Rejected, Uncertain)) as caught:
        send(proxy(server.url), request, MARK)
    return type(caught.value), len(server.requests)


REGION = follow_up("variation_region", Operation.REGION, prompt="a hat", mask=FILE)


# --- beginning anew


def test_an_imagine_sends_prompt_pictures_and_our_mark():
    request = GenerationRequest(
        operation=Operation.IMAGINE,
        prompt="a cat",
        options={"images": ["https://a.test/1.png", FILE], "speed": "turbo", "version": "8.2", "chaos": 5},
    )

    assert submitted(request)[1] == [
        (
            "/mj/submit/imagine",
            {"prompt": "https://a.test/1.png a cat --chaos 5 --v 8.2 --turbo", "base64Array": [FILE]},
        )
    ]


def test_without_a_public_address_only_the_state_marks_it():
    with Loopback(reply(200, TAKEN)) as server:
        send(proxy(server.url), GenerationRequest(operation=Operation.IMAGINE, prompt="a cat"), Mark("a1", None))

    assert server.bodies == [{"prompt": "a cat", "state": "a1"}]


@pytest.mark.parametrize("flag", ["--relax", "--fast", "--turbo"])
def test_a_speed_that_the_prompt_names_already_is_refused(flag):
    with pytest.raises(RequestInvalid, match=f"option speed: the prompt already has {flag}"):
        proxy().translate(
            GenerationRequest(operation=Operation.IMAGINE, prompt=f"a cat {flag}", options={"speed": "fast"})
        )


@pytest.mark.parametrize(
    ("setting", "path", "body"),
    [
        ("flag", "/mj/submit/imagine", {"prompt": "a cat --v 7 --turbo"}),
        ("path", "/mj-turbo/mj/submit/imagine", {"prompt": "a cat --v 7"}),
        ("filter", "/mj/submit/imagine", {"prompt": "a cat --v 7", "accountFilter": {"modes": ["TURBO"]}}),
    ],
)
@pytest.mark.parametrize("prompt", ["a cat", "a cat --v 7 --turbo"])
def test_the_speed_is_said_where_the_relay_reads_it_wherever_the_request_says_it(setting, path, body, prompt):
    options = {} if "--" in prompt else {"speed": "turbo", "version": "7"}
    request = GenerationRequest(operation=Operation.IMAGINE, prompt=prompt, options=options)

    assert submitted(request, mjproxy_speed=setting)[1] == [(path, body)]


@pytest.mark.parametrize("setting", ["path", "filter"])
def test_without_a_speed_the_relay_has_its_way(setting):
    request = GenerationRequest(operation=Operation.IMAGINE, prompt="a cat\non a mat --turbofox", options={})

    assert submitted(request, mjproxy_speed=setting)[1] == [
        ("/mj/submit/imagine", {"prompt": "a cat\non a mat --turbofox"})
    ]


def test_a_blend_and_a_description_send_files():
    blend = GenerationRequest(
        operation=Operation.BLEND, prompt="", options={"images": [FILE, FILE], "aspect_ratio": "3:2"}
    )
    describe = GenerationRequest(operation=Operation.DESCRIBE, prompt="", options={"images": [FILE]})

    assert submitted(blend)[1] == [
        ("/mj/submit/blend", {"base64Array": [FILE, FILE], "dimensions": "LANDSCAPE"}),
    ]
    assert submitted(describe)[1] == [("/mj/submit/describe", {"base64": FILE})]


@pytest.mark.parametrize(("code", "result"), [(1, "84"), (22, "84"), (21, "84"), ("1", "84"), (1, 84)])
def test_a_task_that_is_queued_or_was_there_before_is_ours(code, result):
    request = GenerationRequest(operation=Operation.IMAGINE, prompt="a cat")

    submission, posts = submitted(request, {"code": code, "result": result})

    assert submission == Accepted("84")
    assert len(posts) == 1


def test_a_forbidden_word_is_named():
    answer = reply(200, refusal(24, "forbidden", bannedWord="nude"))
    with Loopback(answer) as server, pytest.raises(Rejected, match=r"forbidden \(nude\)"):
        send(proxy(server.url), GenerationRequest(operation=Operation.IMAGINE, prompt="a cat"), MARK)


def test_the_secret_is_sent_in_both_ways_or_not_at_all():
    with Loopback(reply(200, TAKEN)) as server:
        for secret in ("tok", None):
            send(
                proxy(server.url, mjproxy_api_secret=secret),
                GenerationRequest(operation=Operation.IMAGINE, prompt="a cat"),
                MARK,
            )

    with_secret, without = (request.partition(b"\r\n\r\n")[0].lower() for request in server.requests)
    assert b"\r\nmj-api-secret: tok\r\n" in with_secret
    assert b"\r\nauthorization: bearer tok\r\n" in with_secret
    assert b"mj-api-secret" not in without
    assert b"authorization" not in without


def test_a_secret_that_cannot_be_one_is_named_and_not_shown():
    with pytest.raises(ConfigurationError, match="MJPROXY_API_SECRET") as caught:
        proxy(mjproxy_api_secret="two words")

    assert "two words" not in str(caught.value)


# --- following up


@pytest.mark.parametrize(
    ("action", "operation", "change", "simple"),
    [
        ("upscale2", Operation.UPSCALE, {"action": "UPSCALE", "index": 2}, "U2"),
        ("variation3", Operation.VARIATION, {"action": "VARIATION", "index": 3}, "V3"),
        ("reroll", Operation.REROLL, {"action": "REROLL", "index": 1}, "R"),
    ],
)
def test_a_parent_without_buttons_is_changed(action, operation, change, simple):
    request = follow_up(action, operation, BARE)

    assert submitted(request)[1] == [("/mj/submit/change", {"taskId": TASK_ID, **change})]
    assert submitted(request, mjproxy_change="simple-change")[1] == [
        ("/mj/submit/simple-change", {"content": f"{TASK_ID} {simple}"})
    ]


@pytest.mark.parametrize("change", ["change", "simple-change"])
@pytest.mark.parametrize(("action", "operation"), [("upscale2", Operation.UPSCALE), ("pan_left", Operation.PAN)])
def test_a_parent_with_buttons_has_its_button_pressed(action, operation, change):
    assert submitted(follow_up(action, operation), mjproxy_change=change)[1] == [
        ("/mj/submit/action", {"taskId": TASK_ID, "customId": ACTIONS[action]})
    ]


@pytest.mark.parametrize(
    "parent", [{}, {"upscale_2x": ACTIONS["upscale_2x"]}, BARE, BARE | {"reroll": ACTIONS["reroll"]}]
)
def test_a_follow_up_that_the_parent_does_not_offer_is_refused(parent):
    with pytest.raises(RequestInvalid, match="parent"):
        proxy().translate(follow_up("upscale_2x", Operation.UPSCALE, parent))


@pytest.mark.parametrize(
    ("parent", "status", "error"), [(BARE, 200, Rejected), (WITH_BUTTONS, 404, Rejected), (None, 200, NotTaken)]
)
def test_code_3_is_final_only_for_a_follow_up(parent, status, error):
    request = (
        follow_up("reroll", Operation.REROLL, parent)
        if parent
        else GenerationRequest(operation=Operation.IMAGINE, prompt="a cat")
    )

    assert submit_error(request, reply(status, refusal(3))) == (error, 1)


# --- windows of the C# version


def test_a_region_is_an_action_and_the_mask_in_its_window():
    submission, posts = submitted(REGION, WINDOW, {"code": 22, "result": "78"})

    assert submission == Accepted("78")
    assert posts == [
        ("/mj/submit/action", {"taskId": TASK_ID, "customId": ACTIONS["variation_region"]}),
        ("/mj/submit/modal", {"taskId": "77", "prompt": "a hat", "maskBase64": FILE}),
    ]


def test_a_custom_zoom_is_an_action_and_the_prompt_in_its_window():
    _, posts = submitted(follow_up("zoom_custom", Operation.ZOOM, prompt=" a cat --zoom 1.4 "), WINDOW, TAKEN)

    assert posts[1] == ("/mj/submit/modal", {"taskId": "77", "prompt": "a cat --zoom 1.4"})


@pytest.mark.parametrize(
    ("offered", "sent"),
    [({"finalPrompt": "a cat --ar 3:2"}, "a cat --ar 3:2"), ({"finalPrompt": 5}, "a cat"), (5, "a cat")],
)
def test_a_window_that_remix_opened_is_filled_in_with_the_parents_prompt(offered, sent):
    request = follow_up("variation1", Operation.VARIATION, prompt="a cat")

    _, posts = submitted(request, WINDOW | {"properties": offered}, TAKEN)

    assert posts[1] == ("/mj/submit/modal", {"taskId": "77", "prompt": sent})


def test_an_action_whose_task_exists_already_opens_no_window():
    existing = WINDOW | {"properties": {"status": "SUCCESS", "imageUrl": "https://cdn.discordapp.com/cat.png"}}

    submission, posts = submitted(follow_up("upscale2", Operation.UPSCALE), existing)

    assert (submission, len(posts)) == (Accepted("77"), 1)


def test_a_window_without_a_prompt_leaves_it_to_the_proxy():
    _, posts = submitted(follow_up("reroll", Operation.REROLL), WINDOW, {"code": 1})

    assert posts[1] == ("/mj/submit/modal", {"taskId": "77"})


@pytest.mark.parametrize(
    ("behaviours", "error", "posts"),
    [
        ([hang_up], Uncertain, 1),
        ([reply(200, WINDOW), hang_up], Uncertain, 2),
        ([reply(200, WINDOW), reply(200, refusal(9))], Uncertain, 2),
        ([reply(200, WINDOW), reply(200, b"<html>")], Uncertain, 2),
        ([reply(200, WINDOW), reply(200, refusal(23))], NotTaken, 2),
        ([reply(200, WINDOW), reply(200, refusal(4))], Rejected, 2),
        ([reply(200, WINDOW | {"result": None})], Uncertain, 1),
    ],
)
def test_action_and_window_are_one_submission(behaviours, error, posts):
    assert submit_error(REGION, *behaviours) == (error, posts)


def test_an_unreachable_proxy_took_nothing():
    with pytest.raises(NotTaken):
        send(proxy(f"http://127.0.0.1:{refused_port()}"), REGION, MARK)
