"""The gallery in a real browser: keyboard alone, filters in the address, a look before an action, and no jank."""

import pytest
from playwright.sync_api import Page, expect

from tests.system.console.conftest import shoot

pytestmark = pytest.mark.browser


def test_the_wall_is_seen(page: Page) -> None:
    page.goto("/gallery")
    expect(page.locator("#wall [role=option]")).not_to_have_count(0)
    page.wait_for_timeout(1500)
    shoot(page, "gallery-desk")
    page.locator("#wall [role=option]").nth(2).focus()
    page.keyboard.press("Space")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Shift+Space")
    page.locator("summary", has_text="More filters").click()
    shoot(page, "gallery-picked")
    page.emulate_media(color_scheme="light")
    page.set_viewport_size({"width": 390, "height": 844})
    shoot(page, "gallery-phone")
    page.select_option("#bulk-action", "retry")
    page.get_by_role("button", name="Check…").click()
    page.set_viewport_size({"width": 1440, "height": 900})
    shoot(page, "gallery-look")
