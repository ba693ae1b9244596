import pytest
from flask import Flask

from webhook.errors import STATUS, answer
from worker.errors import (
    ArchiveError,
    ConfigurationError,
    DarkroomError,
    LedgerUnavailable,
    LinkDead,
    NotFound,
    RequestInvalid,
)


@pytest.mark.parametrize(
    ("error", "status", "told"),
    [
        (RequestInvalid("the prompt is empty"), 400, True),
        (NotFound("nothing has the id gen_1"), 404, True),
        (ConfigurationError("DATABASE_URL is wrong"), 503, False),
        (LedgerUnavailable("cannot reach 10.0.0.5"), 503, False),
        (ArchiveError("the bucket is away"), 500, False),
        (LinkDead("https://cdn.example/a?sig=s is gone"), 500, False),
        (ZeroDivisionError("division by zero"), 500, False),
    ],
)
def test_the_caller_is_told_what_is_the_callers_own_doing(error: Exception, status: int, told: bool) -> None:
    response = answer(error)
    assert (response.status_code, response.mimetype) == (status, "application/problem+json")
    assert (str(error) in response.get_data(as_text=True)) is told
    assert response.headers.get("Retry-After") == ("5" if status == 503 else None)


def test_every_listed_error_is_one_of_ours() -> None:
    assert all(issubclass(kind, DarkroomError) for kind in STATUS)


@pytest.mark.parametrize(
    ("method", "path", "status", "title"),
    [
        ("GET", "/nowhere", 404, "Not Found"),
        ("POST", "/livez", 405, "Method Not Allowed"),
    ],
)
def test_what_flask_refuses_is_a_problem_document_too(
    app: Flask, method: str, path: str, status: int, title: str
) -> None:
    response = app.test_client().open(path, method=method)
    assert (response.status_code, response.json) == (status, {"title": title, "status": status})
    assert response.mimetype == "application/problem+json"
    assert ("GET" in response.headers.get("Allow", "")) is (status == 405)
