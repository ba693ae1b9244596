"""A trusted proxy says who somebody is; whoever else says it is refused, and not only ignored."""

from typing import Any

import pytest
from pydantic import ValidationError

from tasks.usecases.users import Role, UserRequest, add_user, remove_user
from tests.webhook.console.conftest import HERE, PASSWORD, Browser, Build, logged, writing
from worker.ledger import Ledger
from worker.services import Services
from worker.settings.settings import Settings

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

URL = "https://darkroom.test"
PROXY: dict[str, Any] = {
    "darkroom_console_proxy_header": "DarkroomUser",
    "darkroom_console_proxy_networks": "10.0.0.7, 172.18.0.0/16",
    "console_url": URL,
    "darkroom_signing_keys": "k1:" + "x" * 32,
}
ANNA = {"DarkroomUser": "anna"}


def through_proxy(build: Build, **facts: Any) -> Browser:
    given: dict[str, Any] = {"base_url": "http://darkroom.test", "address": "10.0.0.7", "headers": ANNA, **PROXY}
    return build(**{**given, **facts})


@pytest.mark.parametrize("address", ["10.0.0.7", "172.18.9.9", "::ffff:10.0.0.7"])
def test_whom_the_proxy_names_is_let_in_as_a_viewer(browser_for: Build, address: str) -> None:
    page = through_proxy(browser_for, address=address).get()
    assert page.status_code == 200
    assert '<p class="person">anna <span class="quiet">viewer</span></p>' in page.text
    assert "Log out" not in page.text


@pytest.mark.parametrize(
    "address", ["10.0.0.8", "127.0.0.1", "203.0.113.7", "::1", "2001:db8::7", "::ffff:10.0.0.8", ""]
)
def test_the_header_from_elsewhere_is_refused_even_on_this_machine(
    browser_for: Build, here: Services, address: str
) -> None:
    add_user(here, UserRequest(name="anna", role=Role.OPERATOR, password=None, by="somebody"))
    for facts in ({}, {"base_url": HERE, "listens_on": "127.0.0.1"}):
        page = through_proxy(browser_for, address=address, **facts).get()
        assert page.status_code == 403
        assert "which is not in DARKROOM_CONSOLE_PROXY_NETWORKS" in page.text


def test_without_the_header_the_proxy_is_a_stranger(browser_for: Build, anna: None) -> None:
    browser = through_proxy(browser_for, headers={})
    assert browser.get().headers["Location"] == "/login"
    assert browser.log_in("anna", PASSWORD).status_code == 303
    assert browser.is_in


def test_without_the_setting_the_header_means_nothing(browser_for: Build) -> None:
    browser = browser_for(address="10.0.0.7", headers=ANNA)
    assert browser.get().headers["Location"] == "/login"


@pytest.mark.parametrize("host", ["evil.example", "darkroom.test.evil.example", "10.0.0.5:8001", "darkroom.test:8001"])
def test_a_page_under_a_name_of_its_own_cannot_use_a_browser_beside_the_proxy(browser_for: Build, host: str) -> None:
    page = through_proxy(browser_for, base_url=f"http://{host}").get()
    assert page.status_code == 403
    assert "not the host of CONSOLE_URL: make the proxy forward the Host" in page.text


@pytest.mark.parametrize(
    "name",
    [
        "",
        "anna,ben",
        "anna, anna",
        "local",
        "nobody",
        "an\tna",
        "a" * 101,
        "an\u202ena".encode().decode("latin-1"),
        "\xff",
    ],
)
def test_a_name_that_may_be_two_or_misleads_is_refused(browser_for: Build, name: str) -> None:
    """The server joins headers that came twice: one may be of the visitor."""
    page = through_proxy(browser_for, headers={"DarkroomUser": name}).get()
    assert page.status_code == 403
    assert "The proxy sent DarkroomUser without a readable name" in page.text


def test_a_name_may_have_any_letters_and_is_shown_as_text(browser_for: Build) -> None:
    sent = "René <b>O'Hara</b>"
    page = through_proxy(browser_for, headers={"DarkroomUser": sent.encode().decode("latin-1")}).get()
    assert "René &lt;b&gt;O&#39;Hara&lt;/b&gt;" in page.text


def test_a_user_of_that_name_has_the_role_and_all_others_that_of_the_setting(
    browser_for: Build, here: Services, ledger: Ledger
) -> None:
    add_user(here, UserRequest(name="anna", role=Role.OPERATOR, password=None, by="somebody"))
    browser = through_proxy(browser_for)
    writing(browser)
    form = {"csrf": browser.body_token()}
    assert browser.post("/write", form, headers={"Origin": URL}).status_code == 303
    assert logged(ledger) == [("console", "anna", "POST /write", 303, "batch_7")]
    remove_user(here, "anna")
    assert browser.post("/write", form).status_code == 403
    others = through_proxy(browser_for, darkroom_console_proxy_role="operator", headers={"DarkroomUser": "ben"})
    writing(others)
    assert others.post("/write", {"csrf": others.body_token()}).status_code == 303


def test_the_forms_of_one_person_are_not_those_of_another_in_the_same_browser(browser_for: Build) -> None:
    browser = through_proxy(browser_for, darkroom_console_proxy_role="operator")
    writing(browser)
    form = {"csrf": browser.body_token()}
    browser.headers = {"DarkroomUser": "ben"}
    assert browser.post("/write", form).status_code == 403


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"darkroom_console_proxy_header": "X-Forwarded-User"}, "proxies forward from anybody"),
        ({"darkroom_console_proxy_header": "Remote_User"}, "is not a name of 1 to 64 letters and digits"),
        ({"darkroom_console_proxy_networks": ""}, "so anybody could send that header"),
        ({"darkroom_console_proxy_networks": "10.0.0.5/8"}, "'10.0.0.5/8' is not an address or a network"),
        ({"darkroom_console_proxy_networks": "10.0.0.7,proxy"}, "'proxy' is not an address or a network"),
        ({"darkroom_console_proxy_networks": "0.0.0.0/0"}, "contains every address"),
        ({"darkroom_console_proxy_networks": "::/0"}, "contains every address"),
        ({"console_url": None}, "CONSOLE_URL is not"),
        ({"darkroom_console_proxy_role": "admin"}, "viewer"),
    ],
)
def test_a_setting_that_would_believe_everybody_is_refused(wrong: dict[str, Any], told: str, database_url: str) -> None:
    with pytest.raises(ValidationError, match=told):
        Settings(**{**PROXY, **wrong})


@pytest.mark.parametrize(
    "facts", [{"address": "10.0.0.8"}, {"base_url": "http://evil.test"}, {"headers": {"DarkroomUser": ""}}]
)
def test_whoever_is_let_in_nowhere_is_led_nowhere(browser_for: Build, facts: dict[str, Any]) -> None:
    browser = through_proxy(browser_for, **facts)
    for path in ("/", "/gallery", "/login"):
        page = browser.get(path)
        assert page.status_code == 403
        assert "Go to the board" not in page.text
