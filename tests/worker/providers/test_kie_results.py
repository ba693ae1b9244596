"""How the JSON of Kie.ai is read, from callbacks and from records."""

import json
from typing import Any

import pytest

from tests.worker.providers.contract import NOW
from tests.worker.providers.dialects.dialect import PAYLOADS
from worker.errors import CallbackUnreadable
from worker.generation import AssetKind, Outcome, Status
from worker.providers.kie import Kie
from worker.providers.kie.results import read_record
from worker.settings.settings import Settings

PICTURES = [f"https://tempfile.aiquickdraw.com/v/42ea_0_{index}.jpeg" for index in range(4)]
FILM = "https://tempfile.aiquickdraw.com/v/42ea_0_0.mp4"
OBJECTS = [{"resultUrl": url} for url in PICTURES]


def parse(**body: Any) -> Outcome:
    return Kie(Settings(kie_api_key="tok")).parse_callback({}, json.dumps(body).encode(), NOW)


def done(*urls: Any, **data: Any) -> Outcome:
    return parse(code=200, msg="success", data={"taskId": "t1", "resultUrls": list(urls), **data})


def record(**fields: Any) -> Outcome:
    return read_record({"taskId": "t1", **fields}, "t1")


def urls_of(outcome: Outcome) -> list[str]:
    return [link.url for link in outcome.links]


# --- results


@pytest.mark.parametrize("urls", [PICTURES, OBJECTS, json.dumps(PICTURES), json.dumps(OBJECTS)])
def test_links_are_texts_or_objects_or_json_in_a_text(urls):
    assert urls_of(parse(code=200, data={"taskId": "t1", "resultUrls": urls})) == PICTURES
    result = {"resultUrls": urls}
    for information in (result, json.dumps(result)):
        assert urls_of(record(successFlag=1, resultInfoJson=information)) == PICTURES


def test_four_pictures_are_four_assets_that_can_be_enlarged_and_varied():
    outcome = done(*PICTURES)

    assert [link.kind for link in outcome.links] == [AssetKind.IMAGE] * 4
    assert outcome.actions == tuple(f"{word}{number}" for word in ("upscale", "variation") for number in (1, 2, 3, 4))
    assert outcome.parent == {"task_id": "t1"}


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_any_other_number_of_pictures_offers_nothing(count):
    assert done(*(PICTURES * 2)[:count]).actions == ()


def test_the_same_link_twice_keeps_its_two_places():
    assert len(done(PICTURES[0], PICTURES[0], *PICTURES[2:]).links) == 4


@pytest.mark.parametrize(("count", "offered"), [(1, 1), (2, 2), (4, 4), (6, 4)])
def test_films_can_be_made_longer(count, offered):
    outcome = done(*[FILM] * count)

    assert {link.kind for link in outcome.links} == {AssetKind.VIDEO}
    assert outcome.actions == ("extend1", "extend2", "extend3", "extend4")[:offered]


@pytest.mark.parametrize("suffix", [".mp4", ".MOV", ".webm", ".mp4?x=1.png", ".mp4#.png"])
def test_the_suffix_of_the_path_tells_a_film(suffix):
    assert done(f"https://a.test/1{suffix}").links[0].kind is AssetKind.VIDEO


@pytest.mark.parametrize("url", ["https://a.test/1.png?name=1.mp4", "https://a.test/mp4", "https://x.mp4/1.png"])
def test_nothing_else_tells_a_film(url):
    assert done(url).links[0].kind is AssetKind.IMAGE


# --- callbacks


@pytest.mark.parametrize("code", [500, 501, 400, "500", 0])
def test_any_other_code_is_a_failure(code):
    outcome = parse(code=code, msg="Image generation failed", data={"taskId": "t1", "resultUrls": PICTURES})

    assert outcome == Outcome(status=Status.FAILED, task_id="t1", reason=str(code), message="Image generation failed")


def test_a_failure_may_come_without_data():
    assert parse(code=500, msg="x", data=None) == Outcome(status=Status.FAILED, reason="500", message="x")


def test_a_code_may_be_a_text():
    assert parse(code="200", data={"taskId": "t1", "resultUrls": PICTURES}).status is Status.SUCCEEDED


@pytest.mark.parametrize(
    "body",
    [
        {"data": {"taskId": "a"}},
        {"taskId": "a", "data": {}},
        {"data": {"task_id": "a", "taskId": None}},
        {"task_id": "a"},
        {"data": {"taskId": "a", "task_id": "b"}, "taskId": "c", "task_id": "d"},
        {"data": {"task_id": "a"}, "taskId": "c"},
        {"taskId": "a", "task_id": "d"},
    ],
)
def test_the_task_is_named_in_the_first_of_four_places(body):
    assert parse(code=500, **body).task_id == "a"


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ({"data": {"taskId": "t1", "resultUrls": PICTURES}}, "no code"),
        ({"code": True, "data": {"taskId": "t1"}}, "no code"),
        ({"code": 200, "data": {"taskId": "t1", "resultUrls": []}}, "without a result"),
        ({"code": 200, "data": {"taskId": "t1"}}, "without a result"),
        ({"code": 200, "data": None}, "without a result"),
        ({"code": 200, "data": {"taskId": "t1", "resultUrls": {"0": FILM}}}, "not a list"),
        ({"code": 200, "data": {"taskId": "t1", "resultUrls": FILM}}, "not JSON"),
        ({"code": 200, "data": {"taskId": "t1", "resultUrls": [None]}}, "not an http"),
        ({"code": 200, "data": {"taskId": ["t1"], "resultUrls": PICTURES}}, "not an identifier"),
        ({"code": 501, "data": {"taskId": "t1", "state": "fail", "failMsg": "x"}}, "Market"),
    ],
)
def test_what_cannot_be_understood_is_put_before_a_person(body, problem):
    with pytest.raises(CallbackUnreadable, match=problem):
        parse(**body)


def test_the_callback_of_another_family_is_named():
    market = json.loads((PAYLOADS / "kie" / "market_callback_success.json").read_bytes())

    with pytest.raises(CallbackUnreadable, match="Market"):
        parse(**market)


# --- records


@pytest.mark.parametrize(
    ("flag", "status"),
    [
        (0, Status.IN_PROGRESS),
        ("0", Status.IN_PROGRESS),
        (1, Status.SUCCEEDED),
        ("1", Status.SUCCEEDED),
        (2, Status.FAILED),
        ("3", Status.FAILED),
        (4, Status.IN_PROGRESS),
        (None, Status.IN_PROGRESS),
        (True, Status.IN_PROGRESS),
    ],
)
def test_a_flag_tells_how_a_task_is(flag, status):
    assert record(successFlag=flag, resultInfoJson={"resultUrls": OBJECTS}).status is status


@pytest.mark.parametrize(("code", "reason"), [(500, "500"), ("422", "422"), (None, "failed"), ("", "failed")])
def test_a_failure_has_the_vendors_words(code, reason):
    failed = record(successFlag=3, errorCode=code, errorMessage="Too bad.")

    assert failed == Outcome(status=Status.FAILED, task_id="t1", reason=reason, message="Too bad.")


@pytest.mark.parametrize("result", [None, {}, "", "{", {"resultUrls": []}, {"resultUrls": ["ftp://a.test/1"]}])
def test_a_success_without_a_usable_result_stays_open(result, caplog):
    assert record(successFlag=1, resultInfoJson=result) == Outcome(status=Status.IN_PROGRESS, task_id="t1")
    assert "its record is unusable" in caplog.text
