"""What browsers are told about every page: nothing inline, nothing of others but pictures of our bucket."""

from collections.abc import Callable
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from tests import s3
from tests.webhook.console.conftest import HERE, HTML, Build
from webhook.console.static_files import address_of

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def policy(text: str) -> dict[str, list[str]]:
    return {name: values for name, *values in (part.split() for part in text.split(";"))}


def test_a_page_may_load_only_what_is_ours(client: FlaskClient) -> None:
    headers = client.get("/", headers=HTML, base_url=HERE).headers
    assert policy(headers["Content-Security-Policy"]) == {
        "default-src": ["'none'"],
        "script-src": ["'self'"],
        "style-src": ["'self'"],
        "img-src": ["'self'"],
        "media-src": ["'self'"],
        "connect-src": ["'self'"],
        "form-action": ["'self'"],
        "base-uri": ["'none'"],
        "frame-ancestors": ["'none'"],
    }
    assert headers["Referrer-Policy"] == "same-origin"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "no-store"
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert "camera=()" in headers["Permissions-Policy"]


def test_pictures_may_come_from_the_bucket_and_from_nowhere_else(
    browser_for: Build, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    s3.only_test_servers(monkeypatch, tmp_path)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "https://store.test:9000")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "id")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    browser = browser_for(base_url=HERE, address="127.0.0.1", listens_on="127.0.0.1", s3_bucket="pictures")
    found = policy(browser.get().headers["Content-Security-Policy"])
    assert found["img-src"] == found["media-src"] == ["'self'", "https://store.test:9000"]
    assert found["connect-src"] == found["form-action"] == ["'self'"]
    stranger = browser_for(browser.app).get("/login").headers["Content-Security-Policy"]
    assert "store.test" not in stranger


def test_every_answer_has_them_also_errors_redirects_and_files(
    client: FlaskClient, browser_for: Callable[..., object]
) -> None:
    answers = [
        client.get(address_of("console.css"), base_url=HERE),
        client.post("/login", base_url=HERE, headers={"X-CSRF": "wrong"}),
        browser_for().get("/"),  # type: ignore[attr-defined]
        browser_for().get("/login"),  # type: ignore[attr-defined]
    ]
    assert [one.status_code for one in answers] == [200, 403, 303, 200]
    for one in answers:
        assert "default-src 'none'" in one.headers["Content-Security-Policy"]
        assert one.headers["X-Content-Type-Options"] == "nosniff"


def test_the_login_page_has_its_style_without_a_login(browser_for: Build) -> None:
    browser = browser_for()
    assert browser.get(address_of("console.css")).status_code == 200
    assert browser.get(address_of("login.css")).status_code == 200
