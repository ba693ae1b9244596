"""The providers' own lists: whose a task is, what it was, and where a list ends."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.worker.providers.contract import NOW, provider
from tests.worker.providers.dialects import DIALECTS
from tests.worker.providers.loopback import Loopback, reply
from worker.errors import QueryFailed, RequestInvalid
from worker.generation import GenerationRequest, Operation, Outcome, Status
from worker.providers import PROVIDERS, listing
from worker.providers.acedata.results import read_listed
from worker.providers.listing import Listed, ListedTask, moment, paged

ATTEMPT = "0123456789abcdef" * 2
URL = f"https://studio.test/callbacks/acedata/{ATTEMPT}/k1.bm90LWEtbWFj"
SINCE = NOW - timedelta(hours=24)
GRID = "https://cdn.discordapp.com/attachments/1/2/cat.png"


def task(number: int, age_hours: float | None, **facts: Any) -> ListedTask:
    at = None if age_hours is None else NOW - timedelta(hours=age_hours)
    return ListedTask(
        outcome=Outcome(status=Status.IN_PROGRESS, task_id=str(number)),
        operation=Operation.IMAGINE,
        prompt="a cat",
        created_at=at,
        is_over=False,
        **facts,
    )


def read(*pages: Sequence[ListedTask | None]) -> tuple[list[str | None], list[tuple[int, int]]]:
    """The task_ids that come out of these pages, and what was asked."""
    asked: list[tuple[int, int]] = []

    def page(number: int, seen: int) -> Sequence[ListedTask | None]:
        asked.append((number, seen))
        return pages[number] if number < len(pages) else []

    return [one.outcome.task_id for one in paged(page, SINCE, "Vendor")], asked


# --- pages


def test_pages_are_read_until_they_are_older():
    newest_first = [task(3, 1), task(2, 23)], [task(1, 23.5), task(0, 25)], [task(9, 26), task(8, 27)], [task(7, 28)]
    assert read(*newest_first) == (["3", "2", "1"], [(0, 0), (1, 2), (2, 4)])


def test_a_list_with_the_oldest_first_is_read_to_its_end():
    oldest_first = [task(0, 99), task(1, 50)], [task(2, 30), task(3, 2)]
    assert read(*oldest_first)[0] == ["3"]


def test_what_has_no_time_is_not_lost_and_what_is_no_task_is():
    assert read([None, task(1, None)], [None], [task(2, 3)])[0] == ["1", "2"]


def test_a_list_that_has_only_one_page_is_not_read_for_ever():
    page = [task(1, 1)]
    assert read(page, page, page) == (["1"], [(0, 0), (1, 1)])


def test_a_list_without_an_end_is_told(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(listing, "MOST_TASKS", 4)
    with pytest.raises(QueryFailed, match="Vendor lists more than 4 tasks since then: choose a shorter time"):
        read(*[[task(number, 1)] for number in range(9)])


# --- what is in a list


@pytest.mark.parametrize(
    ("marks", "attempt_id"),
    [
        ((URL,), ATTEMPT),
        ((ATTEMPT,), ATTEMPT),
        (("their-state", URL), ATTEMPT),
        ((URL.replace(ATTEMPT, "a1"),), None),
        (("https://example.com/hook",), None),
        ((), None),
    ],
)
def test_a_mark_of_ours_names_the_attempt(marks: tuple[str, ...], attempt_id: str | None):
    assert task(1, 1, marks=marks).attempt_id == attempt_id


@pytest.mark.parametrize(
    "value",
    [1795262400, 1795262400.0, 1795262400000, "1795262400000", "2026-11-21T12:00:00.000Z", "2026-11-21 12:00:00"],
)
def test_times_are_read_in_every_spelling(value: Any):
    assert moment(value) == datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.mark.parametrize("value", [None, 0, -1, True, "", "soon", {}, [], float("nan"), float("inf"), 1e300, "9" * 400])
def test_what_is_no_time_is_none(value: Any):
    assert moment(value) is None


@pytest.mark.parametrize("name", PROVIDERS)
def test_who_has_no_list_says_so(name: str):
    one = provider(name)
    assert (one.listed is not Listed.NO) is DIALECTS[name].lists
    if one.listed is Listed.NO:
        with pytest.raises(RequestInvalid, match=f"{one.title} has no list of its tasks"):
            one.recent(SINCE)


def recent(name: str, *replies: Any) -> list[ListedTask]:
    with Loopback(*[reply(200, one) for one in replies]) as server:
        return list(provider(name, server.url).recent(SINCE))


def ace(task_id: str, request: Any, **facts: Any) -> dict[str, Any]:
    return {"id": task_id, "type": "imagine", "created_at": NOW.timestamp(), "request": request, **facts}


def test_a_list_of_ace_data_cloud_tells_what_was_asked_for():
    items = [
        ace("1", {"action": "generate", "prompt": "https://x.test/a.png a cat", "callback_url": URL}),
        ace("2", {"action": "upscale2", "image_id": 77}, finished_at=NOW.timestamp()),
        ace("3", {"action": "extend", "video_id": "v", "video_index": 1}, type="videos"),
        ace("4", {"action": "generate"}, type="videos"),
        ace("5", {"action": "brand_new"}),
        ace("6", {"image_url": "x"}, type="describe"),
        ace("7", None, type="edits", created_at="?"),
        *[None, 5, {}],
    ]
    first, second, third, fourth, fifth, last = recent("acedata", {"items": items}, {"items": []})
    assert (first.prompt, first.operation, first.action, first.attempt_id) == (
        "https://x.test/a.png a cat", Operation.IMAGINE, None, ATTEMPT
    )  # fmt: skip
    assert (second.operation, second.action, second.parent) == (Operation.UPSCALE, "upscale2", {"image_id": "77"})
    assert (first.is_over, second.is_over) == (False, True)
    assert (third.operation, third.action, third.parent) == (Operation.VIDEO_EXTEND, "extend2", {"video_id": "v"})
    assert [one.operation for one in (fourth, fifth, last)] == [Operation.VIDEO, Operation.IMAGINE, Operation.EDIT]
    assert (last.outcome.task_id, last.created_at) == ("7", None)


def mj(task_id: Any, **facts: Any) -> dict[str, Any]:
    return {"id": task_id, "taskId": task_id, "action": "IMAGINE", "status": "IN_PROGRESS", "prompt": "a cat", **facts}


@pytest.mark.parametrize("name", ["mjproxy", "ohmygpt"])
def test_a_list_of_midjourneys_bot_tells_what_was_asked_for(name: str):
    millis = int(NOW.timestamp() * 1000)
    tasks = [
        mj(1, submitTime=millis, state=ATTEMPT, webhookUrl=URL),
        mj(2, submit_time=str(millis), finish_time=millis, action="INPAINT"),
        mj(3, action="DESCRIBE", prompt="1. a cat"),
        mj(4, action="ACTION", properties={"notifyHook": URL}),
        mj(5, action=["?"]),
        mj(6, status="MODAL"),
        *[{}, mj(None)],
    ]
    replies = [tasks] if name == "mjproxy" else [{"statusCode": 200, "data": {"tasks": page}} for page in (tasks, [])]
    first, second, third, fourth, fifth = recent(name, *replies)
    assert (first.prompt, first.created_at, first.attempt_id) == ("a cat", NOW, ATTEMPT)
    assert (second.operation, second.is_over, second.created_at) == (Operation.REGION, True, NOW)
    assert (third.operation, third.prompt) == (Operation.DESCRIBE, "")
    assert (fourth.operation, fourth.attempt_id) == (Operation.VARIATION, ATTEMPT)
    assert (fifth.operation, fifth.is_over) == (Operation.IMAGINE, False)


@pytest.mark.parametrize("kind", [["imagine"], {"a": 1}, 7, None, "audios"])
def test_a_kind_that_ace_data_cloud_never_had_is_counted_among_the_pictures(kind: Any):
    listed = read_listed({"id": "1", "type": kind, "request": {"prompt": "a cat"}, "created_at": 1720364607.967})
    assert listed is not None
    assert (listed.operation, listed.prompt) == (Operation.IMAGINE, "a cat")


# --- what a list shows of a request


@pytest.mark.parametrize("name", ["acedata", "ohmygpt"])
def test_each_request_is_shown_as_itself_and_as_no_other(name: str):
    vendor = provider(name, "http://127.0.0.1:1")
    examples = [one for one in DIALECTS[name].examples.values() if one.operation in vendor.shown]
    texts = [
        shown_request.text
        for one in examples
        if (shown_request := vendor.shown_request(vendor.translate(one))) is not None
    ]
    assert len(set(texts)) == len(texts) == len(examples) > 0


@pytest.mark.parametrize("name", PROVIDERS)
def test_what_the_list_does_not_show_is_not_compared(name: str):
    vendor = provider(name, "http://127.0.0.1:1")
    for operation, request in DIALECTS[name].examples.items():
        assert (vendor.shown_request(vendor.translate(request)) is None) == (operation not in vendor.shown)


@pytest.mark.parametrize(
    ("echo", "is_same"),
    [
        ({}, True),
        # The vendor fills in defaults, and adds what it needs itself.
        (
            {"mode": "fast", "timeout": 480, "split_images": False, "version": None, "retry_times": 0, "async": True},
            True,
        ),
        ({"mode": "turbo"}, False),
        ({"split_images": True}, False),
        ({"prompt": "a cat "}, False),
        ({"version": ["7"]}, False),
        ({"image_id": "77"}, False),
    ],
)
def test_defaults_are_the_same_request_and_all_else_is_another(echo: dict[str, Any], is_same: bool):
    vendor = provider("acedata", "http://127.0.0.1:1")
    mine = vendor.shown_request(vendor.translate(GenerationRequest(operation=Operation.IMAGINE, prompt="a cat")))
    listed = read_listed({"id": "1", "type": "imagine", "request": {"prompt": "a cat", "action": "generate"} | echo})
    assert listed is not None
    assert (listed.request == mine) is is_same


def test_a_picture_that_came_as_a_file_is_not_shown_whole():
    vendor = provider("ohmygpt", "http://127.0.0.1:1")
    plain, with_file = (
        vendor.shown_request(
            vendor.translate(GenerationRequest(operation=Operation.IMAGINE, prompt="a cat", options=options))
        )
        for options in ({}, {"images": ["data:image/png;base64,aGk="]})
    )
    assert plain is not None
    assert with_file is not None
    assert (plain.is_all, with_file.is_all, plain.text == with_file.text) == (True, False, True)
