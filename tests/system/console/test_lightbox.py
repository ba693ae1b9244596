"""The lightbox in a real browser: the picture, its keys, and a follow-up that appears by itself."""

from collections.abc import Callable, Iterator
from contextlib import closing

import pytest
from playwright.sync_api import Page, expect

from tests.computer import Computer
from tests.system.console.conftest import listed
from tests.system.console.looks import looks_right
from tests.tasks.cli import stories
from tests.webhook.api.serving import served
from worker.generation import Operation
from worker.ledger import Ledger
from worker.ledger.assets import Archived, Stored
from worker.ledger.migrations import upgrade

pytestmark = pytest.mark.browser

_SHIFTS = """() => new Promise((done) => {
  let sum = 0;
  new PerformanceObserver((list) => { for (const one of list.getEntries()) sum += one.value; })
    .observe({ type: "layout-shift", buffered: true });
  requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(() => done(sum), 100)));
})"""


def number_of(machine: Computer) -> int:
    return len(listed(machine, "generations"))


@pytest.mark.parametrize("size", [(1440, 900), (390, 844)])
def test_the_picture_comes_without_moving_anything(page: Page, size: tuple[int, int]) -> None:
    page.set_viewport_size({"width": size[0], "height": size[1]})
    page.goto("/generations/B-001")
    expect(page.locator("#picture")).not_to_have_js_property("naturalWidth", 0)
    assert page.evaluate(_SHIFTS) == 0
    box = page.locator("#picture").bounding_box()
    assert box is not None
    assert box["width"] > 0.2 * size[0]


def test_a_follow_up_is_made_by_keyboard_alone_and_its_picture_appears_by_itself(page: Page, machine: Computer) -> None:
    page.goto("/generations/B-001")
    parent = page.url
    page.get_by_role("button", name="Upscale 2").focus()
    page.keyboard.press("Enter")
    page.wait_for_url(lambda url: url != parent)
    assert "sent=before" not in page.url
    expect(page.locator(".title")).to_contain_text("archived")
    expect(page.locator("#picture")).not_to_have_js_property("naturalWidth", 0)
    expect(page.locator(".tree .current")).to_contain_text("Upscale 2")
    assert number_of(machine) > 8


def test_digits_pick_a_picture_of_the_four(page: Page) -> None:
    page.goto("/generations/B-002")
    page.get_by_role("button", name="Split into four").click()
    expect(page.locator(".strip a")).to_have_count(4)
    expect(page.locator(".title")).to_contain_text("archived")
    for digit in ("3", "1", "4"):
        page.keyboard.press(digit)
        page.wait_for_url(f"**index={int(digit) - 1}*")
        expect(page.locator(".title")).to_contain_text(f"image {digit} of 4")
        expect(page.locator('.strip [aria-current="true"]')).to_contain_text(digit)


def test_a_long_link_in_an_error_does_not_widen_the_page(page: Page) -> None:
    page.set_viewport_size({"width": 320, "height": 640})
    page.goto("/generations/B-001")
    page.evaluate(
        """() => {
            const told = document.createElement("div");
            told.className = "told";
            told.innerHTML = `<p>https://cdn.example/${"a".repeat(300)}</p>`;
            document.querySelector(".title").append(told);
        }"""
    )
    assert page.evaluate("document.documentElement.scrollWidth") <= 320


def test_arrows_walk_through_the_gallery_and_escape_leads_back_to_the_same_place(page: Page) -> None:
    page.goto("/gallery?batch=spring&operation=imagine")
    keys = [one.get_attribute("data-pick") for one in page.locator(".tile").all()]
    page.locator(".tile").nth(2).dblclick()
    page.wait_for_url(f"**/generations/{str(keys[2]).partition('.')[0]}**")
    for key, place in (("ArrowRight", 3), ("ArrowRight", 4), ("ArrowLeft", 3)):
        page.keyboard.press(key)
        page.wait_for_url(f"**/generations/{str(keys[place]).partition('.')[0]}?batch=spring&operation=imagine*")
    page.keyboard.press("Escape")
    page.wait_for_url("**/gallery?batch=spring&operation=imagine")
    expect(page.locator(f'[id="t-{keys[3]}"]')).to_be_focused()


def test_without_the_gallery_escape_opens_it(page: Page) -> None:
    page.goto("/generations/B-001")
    page.keyboard.press("Escape")
    page.wait_for_url("**/gallery")


def test_the_keys_are_shown_and_go_again(page: Page) -> None:
    page.goto("/generations/B-001")
    keys = page.get_by_role("dialog", name="Keys")
    page.keyboard.press("?")
    expect(keys).to_be_visible()
    page.keyboard.press("Escape")
    expect(keys).to_be_hidden()
    assert "/generations/" in page.url
    page.get_by_role("button", name="Keys").click()
    expect(keys).to_be_visible()


@pytest.mark.parametrize("has_clipboard", [True, False])
def test_the_prompt_is_copied_with_a_clipboard_and_without_one(page: Page, has_clipboard: bool) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto("/generations/B-001")
    if not has_clipboard:
        # As over plain HTTP from another machine.
        page.evaluate("Object.defineProperty(navigator, 'clipboard', { value: undefined })")
    page.keyboard.press("c")
    expect(page.locator("#notices")).to_contain_text("Prompt copied.")
    field = page.context.new_page()
    field.goto("/submit")
    field.locator("#f-prompts").focus()
    field.keyboard.press("Control+V")
    assert field.locator("#f-prompts").input_value() == "a mug in colour 1"


def test_without_scripts_all_of_it_works(plain: Page, machine: Computer) -> None:
    before = number_of(machine)
    plain.goto("/generations/B-004")
    expect(plain.get_by_role("button", name="Copy prompt")).to_be_hidden()
    plain.get_by_role("button", name="Variation 1").click()
    expect(plain.locator("h1")).to_have_text("B-004")
    assert "/generations/gen_" in plain.url
    assert number_of(machine) == before + 1


def test_whoever_goes_back_and_clicks_again_makes_nothing_new(page: Page, machine: Computer) -> None:
    page.goto("/generations/B-005")
    page.get_by_role("button", name="Variation 1").dblclick()
    page.wait_for_url(lambda url: "B-005" not in url and "gen_" in url)
    expect(page.locator(".tree .current")).to_contain_text("Variation 1")
    before = number_of(machine)
    page.go_back()
    page.get_by_role("button", name="Variation 1").click()
    expect(page.locator(".told").first).to_contain_text("This form was sent before")
    assert number_of(machine) == before


def test_submit_again_changed_opens_the_form_filled_in(page: Page) -> None:
    page.goto("/generations/B-001")
    page.get_by_role("link", name="Edit and resubmit").click()
    expect(page.locator("#f-prompts")).to_have_value("a mug in colour 1")
    expect(page.locator("#f-labels")).to_have_value("client=acme")


def video(ledger: Ledger) -> str:
    generation_id = stories.succeeded(ledger, "task-video", operation=Operation.VIDEO)
    (claim,) = ledger.assets.claim(1, stories.MINUTE)
    key = f"2026/11/21/single/{generation_id}/0.mp4"
    stored = Stored(
        index=0, object_key=key, sha256="ab" * 32, bytes=9_000_000, content_type="video/mp4", width=1280, height=720,
        seconds=5.2,
    )  # fmt: skip
    ledger.assets.record([Archived(claim, (stored,), described=True)])
    return generation_id


KINDS: dict[str, Callable[[Ledger], str]] = {
    "video": video,
    "text": lambda ledger: stories.told(ledger, descriptions=["a fox in snow", "an owl"]),
    "expired": lambda ledger: stories.expired(ledger, task_id="task-expired"),
    "failed": stories.failed,
    "unconfirmed": stories.unconfirmed,
    "timed out": lambda ledger: stories.timed_out(ledger, "task-timed-out"),
}


@pytest.fixture(scope="module")
def each_kind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The pages of generations on a machine without workers, which would go on with them."""
    url = f"sqlite:///{tmp_path_factory.mktemp('ledger') / 'ledger.sqlite3'}"
    with closing(Ledger(url)) as ledger:
        upgrade(ledger.database)
        made = {kind: make(ledger) for kind, make in KINDS.items()}
    with served(url) as (address, _):
        yield {kind: f"{address}/generations/{generation}" for kind, generation in made.items()}


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_stored_image_is_shown_accessibly_too(page: Page, each_kind: dict[str, str], kind: str) -> None:
    for width, scheme in ((1440, "dark"), (320, "light")):
        page.set_viewport_size({"width": width, "height": 844})
        page.goto(each_kind[kind])
        page.locator(".history summary").click()
        looks_right(page, f"lightbox-{kind.replace(' ', '-')}-{width}", [scheme])
