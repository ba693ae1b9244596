"""Ace Data Cloud beyond the contract: what exactly is sent, and how its JSON is read."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
import responses

from tests.worker.providers.contract import send
from worker.errors import CallbackUnreadable, ConfigurationError, QueryFailed, RequestInvalid
from worker.generation import AssetKind, GenerationRequest, Link, Operation, Outcome, Status, operation_of
from worker.providers import Mark
from worker.providers.acedata import AceDataCloud
from worker.settings.settings import Settings

PAYLOADS = Path(__file__).parents[2] / "payloads" / "acedata"
IMAGINE_URL = "https://api.acedata.cloud/midjourney/imagine"
TASKS_URL = "https://api.acedata.cloud/midjourney/tasks"
CALLBACK_URL = "https://studio.test/callbacks/acedata/a1/k1.mac"
GRID = "https://cdn.acedata.cloud/grid.png"


def ace(token: str = "tok") -> AceDataCloud:
    return AceDataCloud(Settings(acedatacloud_api_token=token, acedatacloud_base_url="https://api.acedata.cloud/"))


def imagine(prompt: str = "a cat", **options) -> GenerationRequest:
    return GenerationRequest(operation=Operation.IMAGINE, prompt=prompt, options=options)


MARK = Mark("a1", CALLBACK_URL)
POLLED = Mark("a1", None)
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


def parse(**body) -> Outcome:
    return ace().parse_callback({}, json.dumps(body).encode(), NOW)


def parse_file(name: str) -> Outcome:
    return ace().parse_callback({}, (PAYLOADS / name).read_bytes(), NOW)


def sent(mock: responses.RequestsMock) -> list[dict]:
    return [json.loads(call.request.body) for call in mock.calls]


def submitted(request: GenerationRequest, mark: Mark = POLLED, path: str = "imagine") -> dict:
    """The body that a submission sends."""
    with responses.RequestsMock() as mock:
        mock.post(f"https://api.acedata.cloud/midjourney/{path}", json={"task_id": "t1"})
        send(ace(), request, mark)
        return sent(mock)[0]


# --- what is sent


def test_an_imagine_sends_prompt_action_and_callback_url():
    assert submitted(imagine(" a cat --ar 3:2 "), MARK) == {
        "action": "generate",
        "prompt": "a cat --ar 3:2",
        "callback_url": CALLBACK_URL,
    }


def test_without_a_callback_url_the_answer_is_asked_for_at_once():
    assert submitted(imagine()) == {"action": "generate", "prompt": "a cat", "async": True}


def test_the_headers_name_us_and_never_ask_for_a_stream():
    with responses.RequestsMock() as mock:
        mock.post(IMAGINE_URL, json={"task_id": "t1"})
        send(ace("tok"), imagine(), POLLED)
        headers = mock.calls[0].request.headers

    assert headers["Authorization"] == "Bearer tok"
    assert headers["Accept"] == "application/json"
    assert headers["Connection"] == "close"
    assert headers["User-Agent"] == "darkroom"


@pytest.mark.parametrize("task_id", ["27a1128f", 1234197197067915365])
def test_the_task_id_is_text_also_if_it_came_as_a_number(task_id):
    with responses.RequestsMock() as mock:
        mock.post(IMAGINE_URL, json={"success": True, "task_id": task_id})
        assert send(ace(), imagine(), POLLED).task_id == str(task_id)


ACTIONS = [(op, action) for op, capability in AceDataCloud.capabilities.items() for action in capability.actions]
ON_PICTURES = [pair for pair in ACTIONS if pair[0] not in {Operation.REGION, Operation.VIDEO_EXTEND, Operation.SEED}]


@pytest.mark.parametrize(("operation", "action"), ACTIONS)
def test_every_action_is_known_by_its_name(operation, action):
    assert operation_of(action) is operation


@pytest.mark.parametrize(("operation", "action"), ON_PICTURES)
def test_a_follow_up_sends_its_action_and_the_image_id_of_its_parent(operation, action):
    request = GenerationRequest(
        operation=operation,
        prompt="",
        options={"speed": "fast"},
        action=action,
        parent={"image_id": "1234197197067915365"},
    )

    assert submitted(request) == {
        "action": action,
        "image_id": "1234197197067915365",
        "mode": "fast",
        "async": True,
    }


def test_every_action_that_an_example_offers_can_be_asked_for():
    offered = {action for file in PAYLOADS.glob("*_success.json") for action in parse_actions(file)}

    assert len(offered) >= 19
    assert offered <= {action for _, action in ACTIONS}


def parse_actions(file: Path) -> list[str]:
    return json.loads(file.read_bytes()).get("actions", [])


@pytest.mark.parametrize(
    ("options", "fields"),
    [
        ({"speed": "turbo"}, {"mode": "turbo"}),
        ({"timeout": "480"}, {"timeout": 480}),
        ({"translation": "true", "split_images": True}, {"translation": True, "split_images": True}),
        ({"hd": "TRUE", "moodboard": False}, {"hd": True, "moodboard": False}),
        ({"quality": "0.25"}, {"quality": ".25"}),
        ({"version": 6.1}, {"version": "6.1"}),
        ({"version": "niji 9"}, {"version": "niji9"}),
        ({"version": "V8.1", "hd": True}, {"version": "8.1", "hd": True}),
        ({"version": 8.0}, {"version": "8"}),
        ({"style_reference": "false"}, {"style_reference": False}),
    ],
)
def test_an_option_with_a_field_goes_there(options, fields):
    assert submitted(imagine(**options)) == {"action": "generate", "prompt": "a cat", "async": True} | fields


@pytest.mark.parametrize(
    ("options", "prompt"),
    [
        ({"aspect_ratio": "16:9"}, "a cat --ar 16:9"),
        ({"stylize": "250", "weird": 3000, "chaos": 0}, "a cat --stylize 250 --weird 3000 --chaos 0"),
        ({"seed": 4294967295}, "a cat --seed 4294967295"),
        ({"omni_image": f"{GRID}?a=1", "omni_weight": 400}, f"a cat --oref {GRID}?a=1 --ow 400"),
        ({"images": [GRID, "https://a.test/b.png"]}, f"{GRID} https://a.test/b.png a cat"),
        ({"aspect_ratio": "1:1", "images": f"{GRID}"}, f"{GRID} a cat --ar 1:1"),
    ],
)
def test_an_option_without_a_field_is_written_into_the_prompt(options, prompt):
    assert submitted(imagine(**options)) == {"action": "generate", "prompt": prompt, "async": True}


def test_a_style_reference_is_declared_because_its_price_depends_on_it():
    body = submitted(imagine(style_images=[GRID, "https://a.test/b.png"]))

    assert body["prompt"] == f"a cat --sref {GRID} https://a.test/b.png"
    assert body["style_reference"] is True
    assert submitted(imagine(style_images=GRID, style_reference=False))["style_reference"] is False


def test_an_unknown_option_is_named_with_those_that_exist():
    with pytest.raises(RequestInvalid) as caught:
        ace().translate(imagine(colour="red"))

    assert "'colour'" in str(caught.value)
    assert all(name in str(caught.value) for name in AceDataCloud.capabilities[Operation.IMAGINE].options)


@pytest.mark.parametrize("name", ["async", "callback_url", "prompt", "action", "image_id"])
def test_fields_that_are_ours_are_no_options(name):
    with pytest.raises(RequestInvalid, match=name):
        ace().translate(GenerationRequest(operation=Operation.IMAGINE, prompt="a cat", options={name: "x"}))


@pytest.mark.parametrize("action", ["upscale9", "variation1", "generate"])
def test_an_action_of_another_operation_is_refused_with_those_that_exist(action):
    with pytest.raises(RequestInvalid, match=r"upscale has no action .*upscale1, upscale2"):
        ace().translate(
            GenerationRequest(
                operation=Operation.UPSCALE, prompt="", options={}, action=action, parent={"image_id": "1"}
            )
        )


@pytest.mark.parametrize("parent", [{}, {"image_id": ""}])
def test_a_follow_up_without_a_parent_is_refused(parent):
    with pytest.raises(RequestInvalid, match="upscale1 needs the image_id"):
        ace().translate(
            GenerationRequest(operation=Operation.UPSCALE, prompt="", options={}, action="upscale1", parent=parent)
        )


@pytest.mark.parametrize("token", ["two words", "line\nbreak", "snowman☃"])
def test_a_broken_token_is_found_before_it_is_sent_and_not_shown(token):
    with pytest.raises(ConfigurationError, match="ACEDATACLOUD_API_TOKEN") as caught:
        ace(token)

    assert token not in str(caught.value)


# --- how callbacks are read


def test_the_full_size_picture_and_the_way_to_follow_up_are_kept():
    outcome = parse_file("callback_imagine_success.json")

    assert [link.url.endswith("fd5e798&") for link in outcome.links] == [True]
    assert outcome.parent == {"image_id": "1234551030549839932"}
    assert outcome.actions[:5] == ("upscale1", "upscale2", "upscale3", "upscale4", "reroll")
    assert outcome.progress == 100


def test_besides_what_the_vendor_offers_the_seed_can_be_asked_for():
    assert parse_file("callback_imagine_success.json").actions[-1] == "seed"
    assert "variation_region" not in parse_file("callback_imagine_success.json").actions


def test_a_single_picture_can_be_redrawn_in_a_region():
    assert parse_file("upscale_sync_success.json").actions[-2:] == ("variation_region", "seed")


@pytest.mark.parametrize("facts", [{"actions": ["upscale1"]}, {"image_id": "1"}, {"image_id": "1", "actions": []}])
def test_without_an_image_id_or_any_action_nothing_is_added(facts):
    assert "seed" not in parse(success=True, image_url=GRID, **facts).actions


def test_a_failure_keeps_the_vendors_code_and_words():
    assert parse_file("callback_imagine_failure.json") == Outcome(
        status=Status.FAILED,
        task_id="7ba0feaf-d20b-4c22-a35a-31ec30fc7715",
        reason="bad_request",
        message="Unrecognized argument(s): `-c`, `x`",
    )


def test_progress_says_success_already_but_its_links_are_left_alone():
    outcome = parse_file("callback_progress_35.json")

    assert outcome == Outcome(status=Status.IN_PROGRESS, task_id="49589d2c-b6b3-4fbf-9f82-93068509c76f", progress=35)


def test_single_pictures_follow_the_grid():
    urls = [link.url for link in parse_file("edits_sync_success.json").links]

    assert len(urls) == 5
    assert "storage.fonedis.cc" in urls[0]
    assert [url[-7:] for url in urls[1:]] == ["0_0.png", "0_1.png", "0_2.png", "0_3.png"]


def test_videos_follow_their_cover():
    kinds = [link.kind for link in parse_file("callback_videos_success.json").links]

    assert kinds == [AssetKind.IMAGE, *[AssetKind.VIDEO] * 4]


@pytest.mark.parametrize("raw", [None, ""])
def test_without_the_full_size_the_other_picture_is_taken(raw):
    assert parse(success=True, raw_image_url=raw, image_url=GRID).links == (Link(GRID),)


def test_a_link_that_comes_twice_is_one_asset():
    assert parse(success=True, image_url=GRID, sub_image_urls=[GRID, GRID]).links == (Link(GRID),)


@pytest.mark.parametrize(
    "result",
    [
        {},
        {"image_url": ""},
        {"sub_image_urls": []},
        {"image_url": 5},
        {"image_url": {"url": GRID}},
        {"image_url": "cdn.acedata.cloud/grid.png"},
        {"image_url": "file:///etc/passwd"},
        {"image_url": "https://"},
        {"image_url": "https://[::1/grid.png"},
        {"image_url": "https://cdn.acedata.cloud:port/"},
        {"image_url": f"{GRID}\x00"},
        {"image_url": GRID, "sub_image_urls": GRID},
        {"image_url": GRID, "sub_image_urls": [None]},
        {"image_url": GRID, "video_urls": {"0": GRID}},
    ],
)
def test_a_success_without_usable_links_is_put_before_a_person(result):
    with pytest.raises(CallbackUnreadable):
        parse(success=True, task_id="t1", **result)


def test_an_unreadable_link_is_not_shown():
    with pytest.raises(CallbackUnreadable) as caught:
        parse(success=True, image_url="ftp://cdn.acedata.cloud/grid.png?hm=5igned")

    assert "5igned" not in str(caught.value)


@pytest.mark.parametrize(
    ("error", "reason", "message"),
    [
        ({"code": "api_error", "message": "fetch failed"}, "api_error", "fetch failed"),
        ({"message": "fetch failed"}, "failed", "fetch failed"),
        ({"code": 500, "message": ["x"]}, "500", None),
        ("fetch failed", "failed", "fetch failed"),
        (None, "failed", None),
        ([1], "failed", None),
        ({"code": "c", "message": f"no {CALLBACK_URL}\x00\n line"}, "c", "no [hidden] line"),
    ],
)
def test_errors_of_every_shape_are_failures(error, reason, message):
    outcome = parse(success=False, task_id="t1", error=error)

    assert outcome == Outcome(status=Status.FAILED, task_id="t1", reason=reason, message=message)


@pytest.mark.parametrize(
    "body",
    [
        b'\xef\xbb\xbf{"success": false, "error": "two words"}',
        '{"success": false, "error": "two words"}'.encode("utf-16"),
        b'{"success": false, "error": "two\x00words"}',
        b'{"success": false, "error": "two\nwords"}',
        b'{"success": false, "error": "two\\u0000\\ud800words"}',
    ],
)
def test_odd_encodings_and_control_characters_are_read(body):
    assert ace().parse_callback({}, body, NOW).message == "two words"


def test_an_error_without_the_word_success_is_a_failure():
    assert parse(error={"code": "timeout"}, trace_id="x").reason == "timeout"


def test_a_long_message_is_cut():
    message = parse(success=False, error="so " * 5000).message

    assert message
    assert len(message) == 300


@pytest.mark.parametrize(
    "body",
    [
        {"success": False},
        {"success": "certainly"},
        {"success": None, "progress": 100, "image_url": GRID},
        {"success": 1, "image_url": GRID},
        {"success": True, "progress": 99, "image_url": GRID},
        {"success": True, "progress": 99, "image_url": GRID, "actions": None},
        {"success": True, "progress": "nearly", "image_url": GRID},
        {"progress": 10},
    ],
)
def test_what_is_not_clearly_final_is_in_progress(body):
    outcome = parse(task_id="t1", **body)

    assert outcome.status is Status.IN_PROGRESS
    assert outcome.links == ()


@pytest.mark.parametrize(
    "extra", [{}, {"progress": 100}, {"progress": None}, {"progress": 95, "actions": ["upscale1"]}]
)
def test_success_is_final_with_full_progress_or_actions_or_no_progress_at_all(extra):
    assert parse(success=True, image_url=GRID, **extra).status is Status.SUCCEEDED


@pytest.mark.parametrize("body", [{}, {"task_id": "t1"}, {"message": "hello"}])
def test_a_callback_that_says_nothing_is_put_before_a_person(body):
    with pytest.raises(CallbackUnreadable, match="neither"):
        parse(**body)


@pytest.mark.parametrize("task_id", [["t1"], {"id": "t1"}, 1.5, True, "t\x001", "\ud800", "x" * 201, " "])
def test_a_task_id_that_cannot_be_one_is_unreadable(task_id):
    with pytest.raises(CallbackUnreadable, match="task_id"):
        parse(success=True, image_url=GRID, task_id=task_id)


def test_ids_that_come_as_numbers_keep_every_digit():
    outcome = parse(success=True, image_url=GRID, task_id=7, image_id=1234551030549839932)

    assert (outcome.task_id, outcome.parent) == ("7", {"image_id": "1234551030549839932"})


def test_an_unusable_image_id_costs_the_follow_ups_but_not_the_picture():
    outcome = parse(success=True, image_url=GRID, image_id=1.234551030549839e18)

    assert (outcome.status, outcome.parent) == (Status.SUCCEEDED, {})


def test_actions_that_are_no_words_are_left_out():
    assert parse(success=True, image_url=GRID, actions=["upscale1", 2, None, ["x"], "a\x00"]).actions == ("upscale1",)


# --- how tasks are asked for


def fetch(*task_ids: str, reply, status: int = 200) -> tuple[dict[str, Outcome], list[dict]]:
    with responses.RequestsMock() as mock:
        mock.post(TASKS_URL, json=reply, status=status)
        return ace().fetch(task_ids), sent(mock)


def record(task_id: str, **facts) -> dict:
    return {"id": task_id, "type": "imagine", "request": {"prompt": "a cat"}, **facts}


DONE = {"success": True, "image_url": GRID, "progress": 100}


def test_one_task_is_asked_for_by_its_id():
    outcomes, questions = fetch("t1", reply=record("t1", response=DONE))

    assert questions == [{"action": "retrieve", "id": "t1"}]
    assert outcomes["t1"].links == (Link(GRID),)


def test_many_tasks_are_one_question_with_room_for_all_of_them():
    task_ids = [f"t{number}" for number in range(50)]
    outcomes, questions = fetch(*task_ids, reply={"items": [record(task_id, response=DONE) for task_id in task_ids]})

    assert questions == [{"action": "retrieve_batch", "ids": task_ids, "limit": 50}]
    assert list(outcomes) == task_ids


def test_garbage_and_strangers_in_a_batch_are_left_out():
    items = [None, 5, "x", [], {}, {"id": None}, {"id": ["t1"]}, record("stranger", response=DONE), record("t2")]
    outcomes, _ = fetch("t1", "t2", reply={"items": items})

    assert outcomes == {"t2": Outcome(status=Status.IN_PROGRESS, task_id="t2")}


def test_an_answer_about_another_task_is_no_answer():
    assert fetch("t1", reply=record("t2", response=DONE))[0] == {}


@pytest.mark.parametrize(
    ("facts", "status"),
    [
        ({}, Status.IN_PROGRESS),
        ({"response": None}, Status.IN_PROGRESS),
        ({"response": []}, Status.IN_PROGRESS),
        ({"response": {}}, Status.IN_PROGRESS),
        ({"response": {**DONE, "progress": 40}}, Status.IN_PROGRESS),
        ({"response": {**DONE, "progress": 40}, "finished_at": 1720364637.4}, Status.SUCCEEDED),
        ({"response": {"image_url": GRID}, "finished_at": 1720364637.4}, Status.SUCCEEDED),
        ({"response": {"success": False}}, Status.IN_PROGRESS),
        ({"response": {"success": False, "error": None}}, Status.IN_PROGRESS),
        ({"response": {"success": False, "error": "fetch failed"}}, Status.IN_PROGRESS),
        ({"response": {"success": False, "error": {"code": "api_error"}}}, Status.FAILED),
        ({"response": {"success": False}, "finished_at": 1720364637.4}, Status.FAILED),
        ({"response": {"success": False, "error": "fetch failed"}, "finished_at": 1}, Status.FAILED),
    ],
)
def test_a_record_without_a_status_word_is_read_by_what_it_holds(facts, status):
    outcomes, _ = fetch("t1", reply=record("t1", **facts))

    assert outcomes["t1"].status is status


@pytest.mark.parametrize("response", [{}, {"success": True}, {"success": True, "image_url": 5}, {"content": "x"}])
def test_a_finished_record_without_usable_links_is_logged_and_stays_open(response, caplog):
    outcomes, _ = fetch("t1", reply=record("t1", response=response, finished_at=1))

    assert outcomes["t1"].status is Status.IN_PROGRESS
    assert "task t1 ended" in caplog.text


def test_a_task_that_is_not_found_is_left_out():
    assert fetch("t1", reply={"error": {"code": "task_not_found"}}, status=404)[0] == {}


def test_a_batch_without_a_list_is_a_failed_query():
    with pytest.raises(QueryFailed, match="list of tasks"):
        fetch("t1", "t2", reply={"items": {"t1": {}}})


# --- the list, in which a lost submission is found


def with_callback(task_id: str, url: str) -> dict:
    return {"id": task_id, "type": "imagine", "request": {"callback_url": url}}


STRANGERS = [None, 5, {}, with_callback("c", f"{CALLBACK_URL}x")]


def test_a_lost_submission_is_in_the_list_with_its_callback_url():
    with responses.RequestsMock() as mock:
        for page in (STRANGERS, [with_callback("t9", CALLBACK_URL)], []):
            mock.post(TASKS_URL, json={"items": page, "count": len(page)})
        found = {task.marks: task.outcome for task in ace().recent(NOW)}

        assert found[CALLBACK_URL,] == Outcome(status=Status.IN_PROGRESS, task_id="t9")
        assert sent(mock) == [
            {"action": "retrieve_batch", "offset": offset, "limit": 50}
            for offset in (0, len(STRANGERS), len(STRANGERS) + 1)
        ]


# --- what is declared


def test_every_host_of_the_examples_may_be_downloaded_from():
    text = "".join(file.read_text() for file in PAYLOADS.glob("*_success.json"))
    hosts = set(re.findall(r'"https?://([^/"]+)/', text))

    assert len(hosts) >= 4
    for host in hosts:
        assert any(host == allowed or host.endswith(f".{allowed}") for allowed in AceDataCloud.result_hosts)


@pytest.mark.parametrize(
    ("prompt", "options", "told"),
    [
        (
            "a fox",
            {"version": 8.1, "speed": "turbo"},
            "version 8.1 does not support speed=turbo at Ace Data Cloud; version 8.2, 8",
        ),
        (
            "a fox --q 4 --v 8.1",
            {},
            "version 8.1 does not support quality at Ace Data Cloud; version 8.2, 8, 7",
        ),
        ("a fox --iw 2", {"version": "v8"}, "version 8 does not support --iw at Ace Data Cloud; version 8.2, 8.1"),
    ],
)
def test_what_a_version_of_midjourney_refuses_is_not_sent(prompt, options, told):
    with pytest.raises(RequestInvalid) as caught:
        ace().translate(GenerationRequest(operation=Operation.IMAGINE, prompt=prompt, options=options))
    assert str(caught.value).startswith(told)


def test_the_newest_version_takes_turbo_and_quality():
    ace().translate(
        GenerationRequest(
            operation=Operation.IMAGINE, prompt="a fox", options={"version": "8.2", "speed": "turbo", "quality": 4}
        )
    )
