"""What holds for every page: it is accessible, fits a phone and a magnified window, and works in dark and in light."""

import re

import pytest
from playwright.sync_api import Page

from tests.system.console.looks import every_size, looks_right

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


@pytest.mark.parametrize("path", PAGES)
def test_a_page_is_accessible_and_does_not_scroll_sideways(page: Page, path: str) -> None:
    name = re.sub(r"[^a-z]+", "-", path.lower()).strip("-") or "board"
    for size in every_size(page):
        page.goto(path)
        looks_right(page, f"{name}-{size}")


def test_every_page_has_one_heading_and_can_be_skipped_to_its_content(page: Page) -> None:
    for path in PAGES:
        page.goto(path)
        assert page.locator("h1").count() == 1, path
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.id") == "main", path
