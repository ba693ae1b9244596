"""Operate in a real browser: a remedy says first what it does, and is carried out by keyboard alone."""

import pytest
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.browser


def test_an_account_is_paused_and_resumed_by_keyboard(page: Page):
    page.goto("/operate/accounts")
    card = page.locator(".cards > li").filter(has_text="Ace Data Cloud")
    pause = card.locator("summary", has_text="Pause")
    pause.focus()
    page.keyboard.press("Enter")
    expect(card.get_by_text("Nothing is submitted to it for an hour")).to_be_visible()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status").filter(has_text="Ace Data Cloud is paused until")).to_be_visible()
    expect(card.get_by_text("Paused by local")).to_be_visible()
    page.goto("/operate")
    expect(page.get_by_role("listitem").filter(has_text="paused by local")).to_be_visible()
    page.goto("/operate/accounts")
    card.locator("summary", has_text="Resume").press("Enter")
    card.get_by_role("button", name="Resume now").press("Enter")
    expect(card.get_by_text("Working")).to_be_visible()


def test_every_part_is_reached_from_the_others(page: Page):
    page.goto("/operate")
    parts = page.get_by_role("navigation", name="Parts of Operate").get_by_role("link")
    for name in parts.all_inner_texts():
        page.get_by_role("navigation", name="Parts of Operate").get_by_role("link", name=name, exact=True).click()
        expect(page.locator(".parts [aria-current=page]")).to_have_text(name)
