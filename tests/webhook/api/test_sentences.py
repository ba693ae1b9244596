"""Each refusal says what is wrong and what to do, in words of HTTP and not of Python."""

import re

import pytest
from flask.testing import FlaskClient

from webhook.api.wording import with_remedies


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    return sqlite_url


KEY = {"Idempotency-Key": "order-7"}
WRONG_BODIES = [
    {"prompt": "a fox", "operation": "paint"},
    {"prompt": "a fox", "colour": "red"},
    {"generations": []},
    {"generations": [{"prompt": "a fox", "priority": "high"}]},
    {"generations": [{"prompt": "a fox", "colour": "red"}], "batch": 7},
    [],
]
WRONG_PATHS = [
    "generations?limit=x",
    "generations?state=done",
    "generations?colour=red",
    "generations?provider=openai",
    "generations?after=nonsense",
    "generations?label=client",
    "batches?after=gen_" + "0" * 32,
    "approvals?after=7",
    "events?after=nonsense",
    "events?type=nonsense.*",
    "spend?from=yesterday",
    "spend?by=colour",
    "spend?from=2026-12-01&to=2026-11-01",
    "spend?label=client",
]
#: of Python's libraries
_THEIRS = re.compile(r"Input should|Extra inputs|Field required|validation|<\w+\.\w+")


def refused(response: object) -> list[str]:
    """The sentences of a 422."""
    assert response.status_code == 422, response.json  # type: ignore[attr-defined]
    problem = response.json  # type: ignore[attr-defined]
    assert problem["errors"], problem
    told = [problem["detail"], *(one["detail"] for one in problem["errors"])]
    assert not [one for one in told if _THEIRS.search(one) or "[redacted]" in one]
    return told


@pytest.mark.parametrize("body", WRONG_BODIES)
def test_a_wrong_body_is_named_in_words_of_json(client: FlaskClient, body: object) -> None:
    refused(client.post("/v1/generations", json=body, headers=KEY))


@pytest.mark.parametrize("path", WRONG_PATHS)
def test_a_wrong_query_is_named_and_has_errors(client: FlaskClient, path: str) -> None:
    refused(client.get(f"/v1/{path}"))


def test_an_unknown_name_is_told_with_the_one_that_was_meant(client: FlaskClient) -> None:
    assert "did you mean 'limit'?" in refused(client.get("/v1/generations?limits=3"))[0]
    assert "expected one of limit, after, key" in refused(client.get("/v1/generations?colour=red"))[0]


def test_an_unknown_field_is_told_with_those_of_the_body_that_was_meant(client: FlaskClient) -> None:
    one = client.post("/v1/generations", json={"promt": "a fox"}, headers=KEY)
    assert "did you mean 'prompt'?" in refused(one)[0]
    many = client.post("/v1/generations", json={"generations": [{"prompt": "a fox"}], "name": "shop"}, headers=KEY)
    assert "expected one of generations, batch, max_cost" in refused(many)[0]


def test_each_refused_token_is_told_how_to_send_one_unredacted(client: FlaskClient) -> None:
    for headers in ({"Authorization": "Bearer nonsense"}, {"X-Forwarded-For": "192.0.2.7"}):
        problem = client.get("/v1/generations", headers=headers)
        assert problem.status_code == 401
        assert "in the Authorization header, after the word Bearer" in problem.json["detail"]  # type: ignore[index]
        assert "[redacted]" not in problem.get_data(as_text=True)


def test_a_token_under_any_name_in_a_url_is_told_to_be_revoked(client: FlaskClient) -> None:
    secret = "dk_live_Psf1SXwIUYM6OTSIEE2KrpSc7DLkSRaSZ0fgiQPehFP3Jh1DF"
    response = client.get("/v1/generations", query_string={"token": secret})
    assert (response.status_code, response.json["code"]) == (401, "token_in_url")  # type: ignore[index]


def test_remedies_name_requests_where_the_api_has_them() -> None:
    steered = {"waits_for": [{"remedy": "`darkroom batch resume spring` resumes it"}], "prompt": "`darkroom list`"}
    assert with_remedies({"data": [steered]}) == {
        "data": [
            {
                "waits_for": [{"remedy": "`POST /v1/batches/spring/resume` resumes it"}],
                "prompt": "`darkroom list`",
            }
        ]
    }
    failed = {"failure": {"category": "parameters", "remedy": "`darkroom providers` lists them"}}
    assert with_remedies(failed)["failure"]["remedy"] == "`GET /v1/providers` lists them"
    assert with_remedies({"waits_for": None, "failure": None}) == {"waits_for": None, "failure": None}
