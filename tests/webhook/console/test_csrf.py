"""What a browser sends by itself is not enough to write: the token of the page is needed, and the page must be ours."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.examples import examples
from tests.webhook.console.conftest import HERE, PASSWORD, Browser, Build, logged, writing
from webhook.console import csrf
from worker.ledger import Ledger

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

LOCAL = {"base_url": HERE, "address": "127.0.0.1", "listens_on": "127.0.0.1"}


@pytest.fixture(params=["local", "password"])
def browser(request: pytest.FixtureRequest, browser_for: Build, anna: None) -> Browser:
    """An operator's, in either way."""
    found = browser_for(**LOCAL) if request.param == "local" else browser_for()
    writing(found)
    if request.param == "password":
        assert found.log_in("anna", PASSWORD).status_code == 303
    return found


def writes(ledger: Ledger) -> int:
    return sum(action == "POST /write" for _, _, action, _, _ in logged(ledger))


def test_a_form_with_the_token_of_its_page_is_taken(browser: Browser, ledger: Ledger) -> None:
    token = browser.body_token()
    assert browser.post("/write", {"csrf": token}).status_code == 303
    assert browser.post("/write", headers={"X-CSRF": token}).status_code == 303
    assert writes(ledger) == 2


@pytest.mark.parametrize("token", ["", "0" * 64, "x", "é" * 64, "0" * 100_000])
def test_without_the_token_nothing_is_written(browser: Browser, ledger: Ledger, token: str) -> None:
    browser.get()
    for page in (browser.post("/write", {"csrf": token}), browser.post("/write", {"other": token})):
        assert page.status_code == 403
        assert "Nothing was changed" in page.text
    assert writes(ledger) == 0


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "http://127.0.0.1:3000"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site", "Origin": "http://127.0.0.1:80"},
        {"Sec-Fetch-Site": "none,cross-site"},
        {"Origin": "http://[evil"},
    ],
)
@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_another_site_writes_nothing_even_with_the_token(
    browser: Browser, ledger: Ledger, headers: dict[str, str], method: str
) -> None:
    path = "/write" if method == "POST" else "/write/gen_1"
    refused = browser.ask(method, path, data={"csrf": browser.body_token()}, headers=headers)
    assert refused.status_code == 403
    assert "Another website sent this" in refused.text
    assert writes(ledger) == 0


def test_the_token_of_one_browser_is_worth_nothing_in_another(browser: Browser, browser_for: Build, anna: None) -> None:
    token = browser.body_token()
    other = browser_for(browser.app, **LOCAL)
    other.get()
    assert other.post("/write", {"csrf": token}).status_code == 403


def test_the_forms_of_before_the_login_and_of_an_earlier_session_are_refused(browser_for: Build, anna: None) -> None:
    browser = browser_for()
    writing(browser)
    before = browser.token()
    browser.log_in("anna", PASSWORD)
    first = browser.body_token()
    assert browser.post("/write", {"csrf": before}).status_code == 403
    browser.post("/logout", {"csrf": first})
    browser.log_in("anna", PASSWORD)
    assert browser.post("/write", {"csrf": first}).status_code == 403
    assert browser.post("/write", {"csrf": browser.body_token()}).status_code == 303


def test_nobody_is_logged_in_by_a_form_of_another_site(browser_for: Build, anna: None, ledger: Ledger) -> None:
    """They would work under a name that somebody else watches."""
    browser = browser_for()
    form = {"name": "anna", "password": PASSWORD}
    assert browser.post("/login", form).status_code == 403
    form["csrf"] = browser.token()
    assert browser.post("/login", form, headers={"Origin": "https://evil.example"}).status_code == 403
    assert browser.post("/login", form, headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
    assert logged(ledger) == []
    assert not browser.is_in


def test_nobody_is_logged_out_by_a_form_of_another_site(browser_for: Build, anna: None) -> None:
    browser = browser_for()
    browser.log_in("anna", PASSWORD)
    assert browser.post("/logout", headers={"Origin": "https://evil.example"}).status_code == 403
    assert browser.post("/logout").status_code == 403
    assert browser.get("/logout").status_code == 405
    assert browser.is_in


def test_pages_stay_valid_when_the_process_is_restarted(browser: Browser, browser_for: Build) -> None:
    token, again = browser.body_token(), browser_for(base_url=browser.base_url)
    writing(again)
    browser.app, browser.client.application = again.app, again.app
    assert browser.post("/write", {"csrf": token}).status_code == 303


def test_htmx_sends_the_token_from_every_element_of_the_page(browser: Browser) -> None:
    """htmx 4 inherits only what is marked so; without `:inherited` the token would not be sent, and nothing say so."""
    page = browser.get().text
    opening = page[page.index("<body") : page.index(">", page.index("<body"))]
    name, _, value = opening.removeprefix("<body ").partition("=")
    assert name == "hx-headers:inherited"
    assert json.loads(value.strip("'")) == {"X-CSRF": browser.body_token()}


def test_what_is_compared_is_compared_in_constant_time(browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    browser.get()
    compared: list[tuple[bytes, bytes]] = []
    monkeypatch.setattr(csrf.hmac, "compare_digest", lambda *pair: (compared.append(pair), True)[1])
    assert browser.post("/write", {"csrf": "wrong"}).status_code == 303
    assert [(given_one, len(ours)) for given_one, ours in compared] == [(b"wrong", 64)]


def test_a_form_has_at_most_a_megabyte_unless_its_page_takes_more(browser: Browser, ledger: Ledger) -> None:
    token = browser.body_token()
    large = "x" * (1024 * 1024)
    part = 'Content-Disposition: form-data; name="csrf"\r\n\r\n'
    multipart = f"--b\r\n{part}{token}\r\n--b\r\n{part.replace('csrf', 'text')}{large}\r\n--b--\r\n".encode()
    for facts in (
        {"data": {"csrf": token, "text": large}},
        {"data": multipart, "content_type": "multipart/form-data; boundary=b"},
    ):
        assert browser.ask("POST", "/write", **facts).status_code == 413
    assert writes(ledger) == 0


@given(st.text(max_size=80))
@settings(max_examples=examples(200))
def test_no_other_text_passes_for_the_token(browser: Browser, text: str) -> None:
    assert browser.post("/write", {"csrf": text.encode("utf-8", "replace").decode()}).status_code == 403


@pytest.mark.parametrize("cookie", ["", "short", "x" * 44, "\u00e9" * 43, "x" * 42 + ";"])
def test_a_cookie_that_is_none_of_ours_is_replaced(browser_for: Build, cookie: str) -> None:
    browser = browser_for(**LOCAL)
    writing(browser)
    browser.client.set_cookie("darkroom-forms", cookie, domain="127.0.0.1")
    token: Any = browser.body_token()
    assert browser.cookies["darkroom-forms"] != cookie
    assert browser.post("/write", {"csrf": token}).status_code == 303
