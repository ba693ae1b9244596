"""midjourney-proxy beyond the contract: how its tasks are read, asked for and found, also through relays."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from tests.worker.providers.dialects.mjproxy import refusal
from tests.worker.providers.dialects.ohmygpt import ACTIONS
from tests.worker.providers.loopback import Loopback, reply
from worker.errors import CallbackUnreadable, LinkForbidden, QueryFailed
from worker.generation import Link, Outcome, Status
from worker.ledger.submission import is_time_out
from worker.net.address_guard import AddressGuard
from worker.providers import Mark
from worker.providers.discord.capabilities import GRID
from worker.providers.mjproxy import MidjourneyProxy
from worker.settings.settings import Settings

HOOK = "https://studio.test/callbacks/mjproxy/a1/k1.mac"
MARK = Mark("a1", HOOK)
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
GRID_LINK = "https://cdn.discordapp.com/attachments/1/2/cat.png"


def proxy(url: str = "http://127.0.0.1:1", **settings) -> MidjourneyProxy:
    return MidjourneyProxy(Settings(mjproxy_base_url=url, **settings))


def task(task_id: str = "84", **facts) -> dict:
    return {"id": task_id, "action": "IMAGINE", "status": "SUCCESS", "imageUrl": GRID_LINK, "progress": "100%", **facts}


def parse(**facts) -> Outcome:
    return proxy().parse_callback({}, json.dumps(task(**facts)).encode(), NOW)


# --- how tasks are read


@pytest.mark.parametrize("action", ["IMAGINE", "VARIATION", "REROLL", "BLEND"])
@pytest.mark.parametrize("buttons", [{}, {"buttons": []}, {"buttons": None}])
def test_a_grid_without_buttons_offers_what_can_be_changed(action, buttons):
    outcome = parse(action=action, **buttons)

    assert outcome.actions == GRID
    assert outcome.parent == {"task_id": "84"}


@pytest.mark.parametrize("action", ["UPSCALE", None, ["IMAGINE"]])
def test_a_single_picture_without_buttons_offers_nothing(action):
    assert parse(action=action).actions == ()


def test_buttons_say_what_is_offered_where_there_are_some():
    outcome = parse(buttons=[{"customId": ACTIONS[word]} for word in ("upscale_subtle", "variation_region")])

    assert outcome.actions == ("upscale_subtle", "variation_region")
    assert outcome.parent == {"task_id": "84", **{word: ACTIONS[word] for word in outcome.actions}}


@pytest.mark.parametrize("words", ["任务超时", "Task timeout", "timed out"])
def test_a_time_out_failure_is_told_as_one_that_may_not_be_the_end(words):
    assert is_time_out(parse(status="FAILURE", failReason=words, finishTime=1795262400000, progress=""))


@pytest.mark.parametrize(
    ("progress", "read"),
    [
        ("46%", 46),
        ("46.5%", 46),
        ("0%", 0),
        ("", None),
        (None, None),
        ("999%", 100),
        ("soon", None),
        (46, 46),
        ([], None),
    ],
)
def test_progress_is_a_text_with_a_percent_sign(progress, read):
    assert parse(status="IN_PROGRESS", progress=progress) == Outcome(
        status=Status.IN_PROGRESS, task_id="84", progress=read
    )


@pytest.mark.parametrize("status", ["NOT_START", "SUBMITTED", "IN_PROGRESS", "MODAL", "", None])
def test_what_is_not_over_is_in_progress(status, caplog):
    assert parse(status=status).status is Status.IN_PROGRESS
    assert not caplog.records


@pytest.mark.parametrize(("status", "reason"), [("FAILURE", "failed"), ("FAILED", "failed"), ("CANCEL", "cancelled")])
def test_failures_keep_the_proxys_words(status, reason):
    outcome = parse(status=status, progress="", failReason="任务超时")

    assert outcome == Outcome(status=Status.FAILED, task_id="84", reason=reason, message="任务超时")


def test_a_flat_body_of_a_relay_is_read():
    body = {"code": 1, "message": "ok", "task_id": 84, "status": "SUCCESS", "image_url": GRID_LINK, "submit_time": "1"}

    outcome = proxy().parse_callback({}, json.dumps(body).encode(), NOW)

    assert (outcome.task_id, outcome.links) == ("84", (Link(GRID_LINK),))


@pytest.mark.parametrize(
    ("texts", "descriptions"),
    [
        ({"properties": {"finalPrompt": "1️⃣ Cat --ar 5:4\n\n2️⃣ 2 cats"}, "prompt": "x"}, ["Cat --ar 5:4", "2 cats"]),
        ({"properties": None, "promptEn": "1. Cat\n2) Dog"}, ["Cat", "Dog"]),
        ({"promptEn": "", "prompt": "3 cats\n\n4 dogs"}, ["3 cats", "4 dogs"]),
        ({"prompt": "Cat\x00\ud800"}, ["Cat"]),
    ],
)
def test_descriptions_are_split_by_their_numbers_or_lines(texts, descriptions):
    outcome = parse(action="DESCRIBE", **texts)

    assert outcome.text == {"descriptions": descriptions}
    assert (outcome.links, outcome.actions) == ((), ())


@pytest.mark.parametrize("facts", [{"prompt": None}, {"prompt": 5}, {"prompt": "1️⃣ \n2️⃣ "}])
def test_a_description_without_words_is_put_before_a_person(facts):
    with pytest.raises(CallbackUnreadable, match="without a description"):
        parse(action="DESCRIBE", **facts)


def test_relays_and_the_user_may_name_hosts_of_results():
    hosts = proxy("https://relay.test/v1", mjproxy_result_hosts=" Files.test, ,x.test").result_hosts

    assert hosts >= {"cdn.discordapp.com", "media.discordapp.net", "relay.test", "files.test", "x.test"}
    assert "" not in hosts


def test_links_to_the_very_address_that_the_operator_wrote_may_be_followed():
    hosts = proxy("http://10.1.2.3:8080").result_hosts
    assert str(AddressGuard().admit("http://10.1.2.3:8080/mj/image/1", hosts)) == "http://10.1.2.3:8080/mj/image/1"
    with pytest.raises(LinkForbidden, match="ServerAddress"):
        AddressGuard().admit("http://localhost:3000/mj/image/1", hosts)


# --- how they are asked for


def test_one_task_is_fetched_by_its_id():
    with Loopback(reply(200, task("8/4"))) as server:
        assert proxy(server.url).fetch(["8/4"])["8/4"].status is Status.SUCCEEDED

    assert server.requests[0].startswith(b"GET /mj/task/8%2F4/fetch ")


def test_a_relays_task_may_have_a_code():
    with Loopback(reply(200, task(code=200, message="ok"))) as server:
        assert proxy(server.url).fetch(["84"])["84"].status is Status.SUCCEEDED


def test_many_tasks_are_one_question():
    task_ids = [str(number) for number in range(50)]
    with Loopback(reply(200, [task(task_id) for task_id in task_ids[1:]] + [task("stranger"), {}])) as server:
        outcomes = proxy(server.url).fetch(task_ids)

    assert server.requests[0].startswith(b"POST /mj/task/list-by-condition ")
    assert server.bodies == [{"ids": task_ids}]
    assert list(outcomes) == task_ids[1:]


@pytest.mark.parametrize(
    ("status", "answer"),
    [
        (200, b""),
        (204, b""),
        (200, b"null"),
        (200, {}),
        (200, task("85")),
        (404, refusal(3)),
        (400, {"code": 4, "description": "task_no_found "}),
    ],
)
def test_a_task_that_is_not_known_is_left_out(status, answer):
    with Loopback(reply(status, answer)) as server:
        assert proxy(server.url).fetch(["84"]) == {}


@pytest.mark.parametrize("answer", [[task()], 5, refusal(4)])
def test_an_answer_that_is_no_task_is_a_failed_query(answer):
    with Loopback(reply(200, answer)) as server, pytest.raises(QueryFailed):
        proxy(server.url).fetch(["84"])


def test_a_lost_submission_is_in_the_list_with_its_state_and_its_hook():
    listed = [{}, task("84", state="a1", properties={"notifyHook": HOOK}), task("3", state="a1", status="MODAL")]
    with Loopback(reply(200, listed)) as server:
        (found,) = proxy(server.url).recent(NOW - timedelta(days=3650))

    assert server.requests[0].startswith(b"GET /mj/task/list ")
    assert (found.outcome.task_id, found.outcome.status) == ("84", Status.SUCCEEDED)
    assert {"a1", HOOK} <= set(found.marks)
