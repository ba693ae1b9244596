"""Review in a real browser: twenty decisions without a mouse, undo, and two who decide the same."""

import json
from collections.abc import Callable, Mapping

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.computer import Computer
from tests.patience import wait_for
from tests.system.console.conftest import IN_TIME, listed
from tests.system.console.looks import every_size, looks_right

pytestmark = pytest.mark.browser

Ask = Callable[[str, int], Mapping[str, str]]


@pytest.fixture
def ask(machine: Computer) -> Ask:
    """Make a batch whose images wait for a decision; return the approvals, the oldest first, and their keys."""

    def ask(batch: str, number: int) -> Mapping[str, str]:
        rows = [{"key": f"{batch}-{one}", "prompt": f"a mug, {batch}, number {one}"} for one in range(number)]
        (machine.home / f"{batch}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
        made = machine.darkroom("batch", "submit", f"{batch}.jsonl", "--name", batch, "--recipe", "shop", seconds=120)
        assert made.returncode == 0, made.stderr

        def asked() -> Mapping[str, str]:
            found = {one["id"]: str(one["key"]) for one in listed(machine, "approvals")}
            return {one: found[one] for one in sorted(found) if found[one].startswith(f"{batch}-")}

        wait_for(lambda: len(asked()) == number, 60)
        return asked()

    return ask


def waiting(page: Page) -> int:
    text = page.locator(".progress span").inner_text()
    return int(text.split()[0]) if text[0].isdigit() else 0


def test_twenty_are_decided_by_keyboard_alone(page: Page, ask: Ask, machine: Computer):
    asked = ask("keyboard", 20)
    page.goto("/review?batch=keyboard")
    expect(page.locator(".progress span")).to_have_text("20 of 20 left")
    for number, approval in enumerate(asked):
        page.wait_for_url(f"**/review/{approval}?*")
        if number % 4 == 3:
            page.keyboard.press("x")
            continue
        page.keyboard.press(str(1 + number % 4))
        page.keyboard.press("1")
        page.keyboard.press("1")
        page.keyboard.press("Enter" if number % 2 else "p")
    expect(page.get_by_role("heading", name="Nothing left to decide here")).to_be_visible()
    decided = [machine.json("show", key)[0]["approvals"][0] for key in list(asked.values())[:4]]
    assert [one["picked"] for one in decided] == [[1], [2], [3], []]
    assert [one["state"] for one in decided] == ["decided", "decided", "decided", "rejected"]


def test_the_last_decision_is_taken_back_by_a_key(page: Page, ask: Ask, machine: Computer):
    first, second = asked = ask("undo", 2)
    page.goto("/review?batch=undo")
    page.keyboard.press("2")
    expect(page.locator("#sum")).to_have_text("2 picked · 0.05 USD")
    page.keyboard.press("p")
    page.wait_for_url(f"**/review/{second}?*")
    page.keyboard.press("u")
    page.wait_for_url(f"**/review/{first}?*")
    expect(page.get_by_role("status").filter(has_text="Undone, and 1 follow-up was cancelled")).to_be_visible()
    (approval,) = machine.json("show", asked[first])[0]["approvals"]
    assert approval["state"] == "asked"
    page.keyboard.press("ArrowRight")
    page.wait_for_url(f"**/review/{second}?*")
    page.keyboard.press("ArrowLeft")
    page.wait_for_url(f"**/review/{first}?*")
    page.keyboard.press(" ")
    assert page.evaluate("document.body.classList.contains('zoomed')")
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_be_visible()


def test_of_two_reviewers_the_second_is_told_and_goes_on(page: Page, chromium: Browser, machine: Computer, ask: Ask):
    first, second = ask("two", 2)
    context = chromium.new_context(base_url=machine.api)
    context.set_default_timeout(IN_TIME)
    other = context.new_page()
    for one in (page, other):
        one.goto("/review?batch=two")
        one.wait_for_url(f"**/review/{first}?*")
        one.keyboard.press("4" if one is page else "1")
    page.keyboard.press("p")
    page.wait_for_url(f"**/review/{second}?*")
    other.keyboard.press("p")
    other.wait_for_url(f"**/review/{second}?*")
    expect(other.get_by_role("status").filter(has_text="Already decided by local: approved 4")).to_be_visible()
    context.close()


def test_it_works_without_scripts(plain: Page, ask: Ask):
    (approval,) = ask("plain", 1)
    plain.goto(f"/review/{approval}?batch=plain")
    plain.get_by_role("checkbox", name="Image 3").check()
    plain.get_by_role("button", name="Approve").click()
    plain.get_by_role("button", name="Undo").click()
    expect(plain.get_by_role("heading", name="Choose the best")).to_be_visible()


def test_the_pages_of_review_are_accessible_and_fit(page: Page, machine: Computer, ask: Ask):
    waits, decided = ask("looks", 2)
    machine.darkroom("approve", decided, "2,4", "--why", "the light")
    (batch,) = [one for one in machine.json("batch", "list") if one["name"] == "spring"]
    for size in every_size(page):
        for what, path in (("waits", f"/review/{waits}"), ("decided", f"/review/{decided}"),
                           ("all", "/review/decisions"), ("cull", f"/review/batch/{batch['id']}")):  # fmt: skip
            page.goto(path)
            if what == "waits":
                page.keyboard.press("2")
            looks_right(page, f"review-{what}-{size}")
    machine.darkroom("reject", waits)
