"""The board in a browser: it changes by itself, is steered by the keyboard, and is right again after a restart."""

import re
import signal
from contextlib import ExitStack

import psutil
import pytest
import urllib3
from playwright.sync_api import Locator, Page, expect

from tests.computer import Computer, eventually
from tests.patience import patient
from tests.system.console.conftest import shoot
from webhook.console.stream import MOST_STREAMS

pytestmark = pytest.mark.browser

#: of a stream whose process could not read the ledger for twelve seconds
BEAT = "event: beat\ndata: 12\n\n"


def submit(machine: Computer, name: str, prompt: str, number: int = 4) -> None:
    rows = "".join(f"{name}-{row},{prompt} {row}\n" for row in range(number))
    (machine.home / f"{name}.csv").write_text(f"sku,prompt\n{rows}")
    done = machine.darkroom("batch", "submit", f"{name}.csv", "--name", name, seconds=60)
    assert done.returncode == 0, done.stderr


def paused(machine: Computer, name: str) -> None:
    """A batch of which nothing is sent."""
    rows = "".join(f"{name}-{row},a mug {row}\n" for row in range(3))
    (machine.home / f"{name}.csv").write_text(f"sku,prompt\n{rows}")
    done = machine.darkroom(
        "batch", "submit", f"{name}.csv", "--name", name, "--start-at", "2099-01-01T00:00", seconds=60
    )
    assert done.returncode == 0, done.stderr


def row_of(page: Page, name: str) -> Locator:
    return page.locator(".batch", has=page.get_by_role("link", name=name, exact=True))


def press(page: Page, target: Locator) -> None:
    """By the keyboard: walk to it, and press Enter."""
    expect(target).to_be_visible()
    for _ in range(200):
        page.keyboard.press("Tab")
        if target.evaluate("one => one === document.activeElement"):
            page.keyboard.press("Enter")
            return
    raise AssertionError(f"nobody gets to {target} by the keyboard")


def is_live(page: Page) -> None:
    expect(page.locator("#live")).to_have_text("Live")


def test_a_new_batch_and_its_results_are_seen_without_a_reload(page: Page, machine: Computer) -> None:
    page.goto("/")
    is_live(page)
    page.evaluate("window.stayed = true")
    submit(machine, "autumn", "a mug in the rain")
    expect(row_of(page, "autumn")).to_be_visible()
    expect(row_of(page, "autumn")).to_contain_text("4 of 4")
    expect(row_of(page, "autumn")).to_contain_text("complete")
    assert page.evaluate("window.stayed")
    shoot(page, "board-live")


def test_a_batch_is_paused_and_resumed_by_the_keyboard_and_keeps_the_focus(page: Page, machine: Computer) -> None:
    paused(machine, "later")
    page.goto("/")
    is_live(page)
    row = row_of(page, "later")
    press(page, row.get_by_role("button", name="Pause later"))
    resume = row.get_by_role("button", name="Resume later")
    expect(resume).to_be_focused()
    expect(row).to_contain_text("paused")
    page.keyboard.press("Enter")
    expect(row.get_by_role("button", name="Pause later")).to_be_focused()
    expect(row).to_contain_text("starts")


def test_a_batch_is_cancelled_by_the_keyboard_after_a_warning(page: Page, machine: Computer) -> None:
    paused(machine, "unwanted")
    page.goto("/")
    press(page, row_of(page, "unwanted").get_by_role("link", name="unwanted", exact=True))
    page.wait_for_url(re.compile("/batches/batch_"))
    press(page, page.get_by_role("link", name="Cancel…"))
    expect(page.get_by_role("heading")).to_have_text("Cancel unwanted?")
    expect(page.locator("main")).to_contain_text("3 queued will be cancelled")
    press(page, page.get_by_role("button", name="Cancel the batch"))
    expect(page.locator("#done")).to_contain_text("3 cancelled")
    expect(page.locator("#details")).to_contain_text("cancelled")
    expect(page.get_by_role("link", name="Cancel…")).to_have_count(0)


def test_failures_are_retried_by_the_keyboard_after_a_look(page: Page, machine: Computer) -> None:
    submit(machine, "broken", "a mug sandbox:fail", 1)
    page.goto("/")
    row = row_of(page, "broken")
    expect(row).to_contain_text("1 of 1")
    press(page, row.locator(".heed a").first)
    page.wait_for_url(re.compile("/batches/batch_"))
    press(page, page.locator("#failures a.button").first)
    expect(page.get_by_role("heading", level=1)).to_contain_text("Retry 1")
    shoot(page, "retry")
    press(page, page.get_by_role("button", name="Retry 1"))
    expect(page.locator("#done")).to_contain_text("1 is retried")


def test_beyond_the_cap_the_page_polls_and_a_change_is_seen_all_the_same(page: Page, machine: Computer) -> None:
    paused(machine, "polled")
    with ExitStack() as others:
        pool = others.enter_context(urllib3.PoolManager(maxsize=MOST_STREAMS))

        def takes_a_place() -> bool:
            stream = pool.request("GET", f"{machine.api}/live", preload_content=False)
            others.callback(stream.close)
            return stream.headers["Content-Type"].startswith("text/event-stream")

        for _ in range(MOST_STREAMS):
            # The page of an earlier test keeps its place until the next message to it fails.
            eventually(takes_a_place, seconds=10)
        page.goto("/")
        expect(page.locator("#live")).to_have_text("Updated every 5 seconds")
        row = row_of(page, "polled")
        press(page, row.get_by_role("button", name="Pause polled"))
        expect(row).to_contain_text("paused")
    # There is room again.
    is_live(page)


def test_after_a_restart_of_the_process_the_board_is_right_again(page: Page, machine: Computer) -> None:
    paused(machine, "patient")
    page.goto("/")
    is_live(page)
    page.evaluate("window.stayed = true")
    (api,) = [one for one in machine.processes() if "webhook.api" in " ".join(one.cmdline())]
    api.send_signal(signal.SIGKILL)
    expect(page.locator("#live")).to_contain_text("does not answer")
    psutil.wait_procs([api], timeout=patient(10))
    # `darkroom up` starts it anew; meanwhile something else has changed.
    done = machine.darkroom("batch", "pause", "patient")
    assert done.returncode == 0, done.stderr
    is_live(page)
    expect(row_of(page, "patient")).to_contain_text("paused")
    assert page.evaluate("window.stayed")


def test_nothing_moves_while_numbers_change(page: Page, machine: Computer) -> None:
    page.goto("/")
    is_live(page)
    submit(machine, "steady", "a mug that stays where it is")
    row = row_of(page, "steady")
    # The new row itself moves what is below it, once.
    expect(row).to_be_visible()
    page.evaluate(
        """window.moved = [];
        new PerformanceObserver((list) => window.moved.push(...list.getEntries().map((one) => one.value)))
            .observe({type: 'layout-shift'})"""
    )
    expect(row).to_contain_text("complete")
    # States that come and go stand side by side in their line; 0.1 is what people begin to notice.
    assert sum(page.evaluate("window.moved")) < 0.001


def test_a_ledger_that_does_not_answer_is_told_of(page: Page) -> None:
    page.route("**/live**", lambda route: route.fulfill(content_type="text/event-stream", body=BEAT))
    page.goto("/")
    expect(page.locator("#live")).to_contain_text("the ledger does not answer")
    assert page.locator("#live").get_attribute("data-state") == "away"
    page.unroute("**/live**")
    is_live(page)
