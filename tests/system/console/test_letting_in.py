"""A person on another machine logs in with the keyboard alone, and what they send carries the token of their page."""

import subprocess
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, Request, expect

from tests.computer import DARKROOM, Computer
from tests.system.console.conftest import IN_TIME, shoot
from tests.system.console.looks import every_size, looks_right

pytestmark = pytest.mark.browser

PASSWORD = "four unusual words here"
#: what a proxy adds: so this browser counts as one of another machine
ELSEWHERE = {"X-Forwarded-For": "203.0.113.7"}


@pytest.fixture(scope="session")
def anna(machine: Computer) -> None:
    add = [DARKROOM, "user", "add", "anna", "--role", "operator", "--password-stdin"]
    subprocess.run(add, env=machine.env, cwd=machine.home, input=PASSWORD, text=True, check=True, capture_output=True)


@pytest.fixture
def stranger(chromium: Browser, machine: Computer) -> Iterator[Page]:
    context = chromium.new_context(base_url=machine.api, extra_http_headers=ELSEWHERE)
    context.set_default_timeout(IN_TIME)
    errors: list[str] = []
    page = context.new_page()
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield page
    context.close()
    assert errors == []


def log_in(page: Page, password: str = PASSWORD) -> None:
    """With the keyboard alone; the first empty field has the focus."""
    expect(page.get_by_label("Name")).to_be_focused()
    page.keyboard.type("anna")
    page.keyboard.press("Tab")
    page.keyboard.type(password)
    page.keyboard.press("Enter")


def test_the_login_is_accessible_and_fits(stranger: Page, anna: None) -> None:
    for size in every_size(stranger):
        stranger.goto("/login")
        log_in(stranger, "wrong")
        expect(stranger.get_by_role("alert")).to_contain_text("Wrong name or password")
        looks_right(stranger, f"login-{size}")


def test_a_person_logs_in_and_out_with_the_keyboard_and_comes_back_to_their_page(stranger: Page, anna: None) -> None:
    stranger.goto("/?label=client")
    expect(stranger).to_have_url("/login?next=/%3Flabel%3Dclient")
    log_in(stranger, "wrong")
    expect(stranger.get_by_role("alert")).to_be_visible()
    expect(stranger.get_by_label("Name")).to_have_value("anna")
    expect(stranger.get_by_label("Password")).to_be_focused()
    stranger.keyboard.type(PASSWORD)
    stranger.keyboard.press("Enter")
    expect(stranger).to_have_url("/?label=client")
    stranger.set_viewport_size({"width": 320, "height": 640})
    shoot(stranger, "logged-in")
    assert stranger.evaluate("document.documentElement.scrollWidth") <= 320
    stranger.get_by_role("button", name="Log out").press("Enter")
    expect(stranger).to_have_url("/login")
    stranger.goto("/")
    expect(stranger).to_have_url("/login")


def test_whoever_is_logged_out_over_a_form_logs_in_elsewhere_and_sends_what_they_typed(
    stranger: Page, anna: None
) -> None:
    stranger.goto("/login?next=/submit")
    log_in(stranger)
    prompts = stranger.get_by_label("Prompts")
    expect(prompts).to_be_visible()
    stranger.context.clear_cookies()
    prompts.fill("a fox in the snow")
    expect(stranger.locator("#check").get_by_role("alert")).to_contain_text("You are logged out")
    stranger.locator("#submit").click()
    refused = stranger.locator("main > .problem")
    expect(refused).to_contain_text("go back and send it again")
    with stranger.expect_popup() as opened:
        refused.get_by_role("link", name="Log in").click()
    opened.value.wait_for_load_state()
    log_in(opened.value)
    expect(opened.value.get_by_role("button", name="Log out")).to_be_visible()
    stranger.go_back()
    expect(prompts).to_have_value("a fox in the snow")
    stranger.locator("#submit").click()
    expect(stranger.locator("#prompt")).to_have_text("a fox in the snow")


def test_without_scripts_the_login_works_as_well(chromium: Browser, machine: Computer, anna: None) -> None:
    context = chromium.new_context(base_url=machine.api, extra_http_headers=ELSEWHERE, java_script_enabled=False)
    page = context.new_page()
    page.goto("/login")
    page.get_by_label("Name").fill("anna")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("button", name="Log out")).to_be_visible()
    context.close()


def test_what_htmx_sends_carries_the_token_from_any_depth_of_the_page(page: Page) -> None:
    """htmx 4 inherits only what is marked so, and says nothing of what it leaves out."""
    page.goto("/")
    sent: list[Request] = []
    page.on("request", lambda request: sent.append(request) if request.method == "POST" else None)
    page.evaluate(
        """() => {
            const deep = document.createElement("div");
            deep.innerHTML = '<p><span><button hx-post="/logout" hx-swap="none">Send</button></span></p>';
            document.querySelector("main").append(deep);
            htmx.process(deep);
        }"""
    )
    with page.expect_response(lambda response: response.request.method == "POST") as answer:
        page.get_by_role("button", name="Send").click()
    assert len(sent[0].headers["x-csrf"]) == 64
    assert answer.value.status < 400


def test_a_form_of_another_site_is_refused_by_what_the_browser_says_of_it(page: Page, machine: Computer) -> None:
    page.goto("data:text/html,<h1>elsewhere</h1>")
    with page.expect_navigation():
        page.evaluate(
            """(address) => {
                const form = document.createElement("form");
                Object.assign(form, { method: "post", action: address });
                document.body.append(form);
                form.submit();
            }""",
            f"{machine.api}/logout",
        )
    expect(page.get_by_role("alert")).to_contain_text("Another website sent this")
