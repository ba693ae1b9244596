"""What holds for every page: it is accessible, fits a phone and a magnified window, and works in dark and in light."""

import re

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

from tests.system.console.conftest import shoot

pytestmark = pytest.mark.browser

PAGES = (
    "/",
    "/batches/spring",
    "/batches/spring/retry",
    "/batches/spring/cancel",
    "/gallery",
    "/gallery?batch=spring&similar=1",
    "/gallery?q=zebra&label=client%3Dacme",
    "/review",
    "/review/decisions",
    "/operate",
    "/operate/unconfirmed",
    "/operate/at-risk",
    "/operate/dead",
    "/operate/accounts",
    "/operate/workers",
    "/operate/restore",
    "/operate/subscribers",
    "/operate/spend",
    "/generations/B-003",
    "/submit",
)
#: CSS pixels: a large screen, a phone, and 1280 pixels at 400 %
SIZES = {"desk": (1440, 900), "phone": (390, 844), "zoomed": (320, 640)}


@pytest.mark.parametrize("scheme", ["dark", "light"])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("path", PAGES)
def test_a_page_is_accessible_and_does_not_scroll_sideways(page: Page, path: str, size: str, scheme: str) -> None:
    width, height = SIZES[size]
    page.set_viewport_size({"width": width, "height": height})
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    page.goto(path)
    name = re.sub(r"[^a-z]+", "-", path.lower()).strip("-") or "board"
    shoot(page, f"{name}-{size}-{scheme}")
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("path", PAGES)
def test_a_page_has_one_heading_and_can_be_skipped_to_its_content(page: Page, path: str) -> None:
    page.goto(path)
    assert page.locator("h1").count() == 1
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
