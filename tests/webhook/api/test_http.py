"""What HTTP itself can do wrong: every answer is a problem in JSON, none is a page or a traceback."""

import json
import re
from datetime import datetime
from pathlib import Path

import pytest
from flask import Flask, request
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from webhook.api.app import create_app
from webhook.api.models.base import RequestModel
from webhook.api.models.problem import Problem
from webhook.api.problems import problem_of
from webhook.api.reading import read_json, read_query, require_plain
from webhook.api.strict_json import DEEPEST, MOST_VALUES
from worker.services import Services
from worker.settings.settings import Settings

JSON = {"Content-Type": "application/json"}
_PATHS = json.loads((Path(__file__).parents[3] / "webhook" / "api" / "openapi.json").read_text())["paths"]
POSTS = [path for path, methods in _PATHS.items() if "post" in methods]


class Thing(RequestModel):
    name: str
    count: int = 1
    options: dict[str, object] | None = None
    at: datetime | None = None


@pytest.fixture
def client() -> FlaskClient:
    """The whole API; the ledger does not answer, since nothing here gets that far."""
    return create_app(Services(Settings(database_url="sqlite:////nowhere/ledger.sqlite3"))).test_client()


@pytest.mark.parametrize("path", POSTS)
def test_a_body_that_is_missing_is_the_caller_s_mistake(client: FlaskClient, path: str):
    answer = client.post(re.sub("{.*?}", "any", path), headers={"Idempotency-Key": "k"})
    assert answer.status_code != 500, answer.text


@pytest.fixture
def echo() -> FlaskClient:
    """One resource that answers with what it has read."""
    app = Flask("echo")
    app.register_error_handler(Exception, lambda error: problem_of(error, "req_1"))

    @app.post("/things")
    def create() -> dict[str, object]:
        require_plain(request)
        return read_json(request, Thing).model_dump()

    @app.get("/things")
    def find() -> dict[str, object]:
        return read_query(request, Thing).model_dump()

    return app.test_client()


def problem(answer: TestResponse) -> Problem:
    assert answer.content_type == "application/problem+json"
    found = Problem.model_validate(answer.json)
    assert found.status == answer.status_code
    return found


@pytest.mark.parametrize(
    "path",
    [
        "/v1",
        "/v2/generations/gen_1",
        "/v1/generations/gen_1/",
        "/v1//generations/gen_1",
        "/v1/generations/gen_1%00",
        "/v1/generations/a%2Fb",
        "/V1/generations/gen_1",
        "/v1/" + "x/" * 5000,
        "/callbacks/kie/1/2",
    ],
)
def test_a_path_that_is_none_is_404(client: FlaskClient, path: str) -> None:
    assert problem(client.get(path)).code == "not_found"


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"])
def test_a_method_that_a_path_does_not_take_is_405_with_those_that_it_takes(client: FlaskClient, method: str) -> None:
    for path in ("/v1/generations/gen_1", "/v1/openapi.json"):
        answer = client.open(path, method=method)
        assert problem(answer).code == "method_not_allowed"
        assert {one.strip() for one in answer.headers["Allow"].split(",")} == {"GET", "HEAD"}


def test_head_is_answered_like_get_without_a_body(client: FlaskClient) -> None:
    whole, head = client.get("/v1/openapi.json"), client.head("/v1/openapi.json")
    assert (head.status_code, head.data) == (200, b"")
    assert head.headers["Content-Length"] == whole.headers["Content-Length"]


@pytest.mark.parametrize("host", ["", "a b", "ex\xe4mple", "x" * 300, "[::1", "127.0.0.1:port"])
def test_a_host_that_is_none_does_no_harm(client: FlaskClient, host: str) -> None:
    problem(client.get("/v1/nothing", headers={"Host": host}))


def test_a_request_has_an_id_in_its_header_and_in_its_problem(client: FlaskClient) -> None:
    answer = client.get("/v1/nothing")
    assert problem(answer).request_id == answer.headers["X-Request-Id"]
    assert answer.headers["X-Request-Id"].startswith("req_")
    assert client.get("/v1/nothing", headers={"X-Request-Id": "theirs-1"}).headers["X-Request-Id"] == "theirs-1"
    forged = client.get("/v1/nothing", headers={"X-Request-Id": "a\tb" + "x" * 200})
    assert forged.headers["X-Request-Id"].startswith("req_")


def test_no_answer_is_cached_or_taken_for_another_type(client: FlaskClient) -> None:
    for path in ("/v1/openapi.json", "/v1/nothing"):
        headers = client.get(path).headers
        assert (headers["Cache-Control"], headers["X-Content-Type-Options"]) == ("no-store", "nosniff")


def test_an_error_of_ours_is_told_by_its_request_id_alone(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("password=hunter2")

    monkeypatch.setattr("webhook.joint_reads.JointReads.get", broken)
    answer = client.get("/v1/generations/gen_1")
    found = problem(answer)
    assert (found.status, found.code) == (500, "internal")
    assert "hunter2" not in answer.text
    assert found.request_id in caplog.text


# --- bodies and queries -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "line 1, column 1"),
        (b"{", "line 1, column 2"),
        (b'{"name": "a"} x', "Extra data"),
        (b"\xef\xbb\xbf{}", "Expecting value"),
        (b'{"name": "\xff"}', "byte 11 is not UTF-8"),
        ('{"name": "a"}'.encode("utf-16"), "not UTF-8"),
        (b'{"name": "a", "name": "b"}', "'name' occurs twice"),
        (b'{"name": "a", "options": {"x": {"y": 1, "y": 2}}}', "'y' occurs twice"),
        (b'{"name": "a", "count": NaN}', "NaN is not a JSON number"),
        (b'{"name": "a", "count": -Infinity}', "-Infinity is not a JSON number"),
        (b'{"name": "a", "options": {"x": 1e999}}', "1e999 is too large"),
        (b'{"name": "a", "count": ' + b"9" * 5000 + b"}", "5,000 digits"),
        (b'{"name": "a", "options": ' + b'{"x": ' * DEEPEST + b"1" + b"}" * (DEEPEST + 1), "nested"),
        (b"[" * 200_000, "nested"),
        (b"[" * 200_000 + b"]" * 200_000, "nested"),
    ],
)
def test_a_body_that_is_no_json_or_can_be_read_in_two_ways_is_400(echo: FlaskClient, body: bytes, said: str) -> None:
    found = problem(echo.post("/things", data=body, headers=JSON))
    assert (found.status, found.code) == (400, "not_json")
    assert said in found.detail


def test_a_body_of_very_many_values_is_refused_before_a_model_takes_gigabytes_for_them(echo: FlaskClient) -> None:
    body = b'{"name": "a", "options": {"x": [%s]}}' % b",".join([b"{}"] * (MOST_VALUES + 1))
    found = problem(echo.post("/things", data=body, headers=JSON))
    assert (found.status, found.code) == (422, "invalid")
    assert "more than 600,000 values: send it in several parts" in found.detail


def test_a_name_that_stands_twice_is_found_among_very_many(echo: FlaskClient) -> None:
    """Each with each, that took two minutes of the whole process for 60,000 names; a body has room for a million."""
    body = b"{%s}" % b",".join(b'"%d":0' % (number % 999_999) for number in range(1_000_000))
    assert "'0' occurs twice" in problem(echo.post("/things", data=body, headers=JSON)).detail


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ('{"name": "a\\u0000b"}', "/name"),
        ('{"name": "\\ud83d"}', "/name"),
        ('{"name": "a", "options": {"x": ["b", "\\udc00"]}}', "/options/x/1"),
        ('{"name": "a", "options": {"a/b~\\u0000": 1}}', "/options/a~1b~0\0"),
        ('{"name": "a", "count": "many"}', "/count"),
        ('{"name": "a", "count": 1.5}', "/count"),
        ('{"name": "a", "count": "1"}', "/count"),
        ('{"name": "a", "count": true}', "/count"),
        ('{"name": "a", "at": 0}', "/at"),
        ('{"count": 1}', "/name"),
        ('{"name": "a", "nmae": "b"}', "/nmae"),
        ("[]", ""),
        ("null", ""),
    ],
)
def test_what_is_wrong_in_a_body_is_422_with_its_place(echo: FlaskClient, body: str, pointer: str) -> None:
    found = problem(echo.post("/things", data=body, headers=JSON))
    assert (found.status, found.code) == (422, "invalid")
    assert found.errors is not None
    assert [one.pointer for one in found.errors] == [pointer]


def test_what_json_has_no_type_for_is_read_from_text(echo: FlaskClient) -> None:
    answer = echo.post("/things", data='{"name": "a", "at": "2026-11-29T12:00:00Z"}', headers=JSON)
    assert answer.status_code == 200


def test_a_whole_pair_of_surrogates_is_one_character(echo: FlaskClient) -> None:
    answer = echo.post("/things", data='{"name": "\\ud83e\\udd8a"}', headers=JSON)
    assert answer.json is not None
    assert answer.json["name"] == "🦊"


def test_of_very_many_mistakes_a_thousand_are_named_and_all_are_counted(echo: FlaskClient) -> None:
    body = json.dumps({"name": "a", **dict.fromkeys(map(str, range(3000)), 1)})
    found = problem(echo.post("/things", data=body, headers=JSON))
    assert found.errors is not None
    assert len(found.errors) == 1000
    assert "and 2,997 more" in found.detail


@pytest.mark.parametrize("kind", ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
def test_a_body_of_another_type_is_415(echo: FlaskClient, kind: str) -> None:
    found = problem(echo.post("/things", data=b'{"name": "a"}', headers={"Content-Type": kind}))
    assert (found.status, found.code) == (415, "unsupported_media_type")


def test_a_type_with_parameters_is_the_same_type(echo: FlaskClient) -> None:
    headers = {"Content-Type": "Application/JSON; charset=utf-8"}
    assert echo.post("/things", data=b'{"name": "a"}', headers=headers).status_code == 200


def test_a_compressed_body_is_415_and_says_what_is_taken(echo: FlaskClient) -> None:
    answer = echo.post("/things", data=b"\x1f\x8b", headers={**JSON, "Content-Encoding": "gzip"})
    assert problem(answer).code == "unsupported_content_encoding"
    assert answer.headers["Accept-Encoding"] == "identity"


def test_a_body_that_is_too_large_is_413(echo: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("webhook.api.reading.LARGEST_JSON", 10)
    assert problem(echo.post("/things", data=b'{"name": "abc"}', headers=JSON)).status == 413


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("name=a%00b", "name"),
        ("na%00me=a", "na\0me"),
        ("name=a&name=b", "name"),
        ("name=a&count=" + "9" * 5000, "count"),
        ("name=a&count=", "count"),
        ("name=a&nmae=b", "nmae"),
        ("", "name"),
    ],
)
def test_what_is_wrong_in_a_query_is_422_with_its_parameter(echo: FlaskClient, query: str, parameter: str) -> None:
    found = problem(echo.get(f"/things?{query}"))
    assert (found.status, found.code) == (422, "invalid")
    assert found.errors is not None
    assert [one.parameter for one in found.errors] == [parameter]
