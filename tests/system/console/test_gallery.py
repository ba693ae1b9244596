"""The gallery in a real browser: keyboard alone, filters in the address, a look before an action, and no jank."""

import re
import zipfile
from contextlib import closing
from pathlib import Path

import pytest
import urllib3
from playwright.sync_api import Locator, Page, expect
from sqlalchemy import update

from tests.computer import Computer
from tests.patience import patient, wait_for
from tests.system.console.conftest import shoot
from worker.ledger import Ledger
from worker.ledger.schema import assets, generations

pytestmark = pytest.mark.browser

#: what `test_scrolling…` shows
MANY = 2_000
#: milliseconds; longer tasks are felt
LONGEST_TASK = 100


def tiles(page: Page) -> Locator:
    return page.locator("#wall [role=option]")


def selected(page: Page) -> Locator:
    return page.locator('#wall [aria-selected="true"]')


def focused(page: Page) -> int:
    """The place of the tile that has the focus."""
    return int(page.evaluate("[...document.querySelectorAll('#wall .tile')].indexOf(document.activeElement)"))


def holds(page: Page, condition: str) -> None:
    """Wait for it; what Playwright waits for itself, the content security policy refuses."""
    wait_for(lambda: page.evaluate(condition), 20, 0.05)


def opened(page: Page, address: str = "/gallery?batch=spring") -> None:
    page.goto(address)
    expect(tiles(page)).not_to_have_count(0)


def test_the_wall_is_walked_and_selected_by_the_keyboard_alone(page: Page) -> None:
    opened(page)
    expect(tiles(page)).to_have_count(8)
    page.locator("#f-q").focus()
    while focused(page) < 0:
        page.keyboard.press("Tab")
    assert focused(page) == 0
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Space")
    expect(selected(page)).to_have_count(1)
    page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("Shift+ArrowRight")
    expect(selected(page)).to_have_count(3)
    expect(page.locator("#picked")).to_have_text("3 selected")
    page.keyboard.press("End")
    assert focused(page) == 7
    page.keyboard.press("ArrowUp")
    above = focused(page)
    assert above < 6
    page.keyboard.press("ArrowDown")
    assert focused(page) >= 6
    page.keyboard.press("PageUp")
    assert focused(page) <= above
    page.keyboard.press("Home")
    assert focused(page) == 0
    shoot(page, "gallery-picked-desk-dark")
    page.keyboard.press("Control+a")
    expect(selected(page)).to_have_count(8)
    expect(page.locator("#picked")).to_have_text("All 8 that match")
    expect(page.locator("#notices")).to_contain_text("including images that are not shown yet")
    page.keyboard.press("Escape")
    expect(selected(page)).to_have_count(0)
    # One Tab leaves the wall: only one of its tiles is in the order.
    page.keyboard.press("Tab")
    assert focused(page) < 0
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("ArrowRight")
    address = tiles(page).nth(1).get_attribute("data-open")
    assert address is not None
    assert re.fullmatch(r"/generations/gen_[0-9a-f]{32}\?batch=spring&index=0", address)
    page.keyboard.press("Enter")
    expect(page).to_have_url(address)


def test_the_mouse_selects_by_the_tick_and_by_modifiers_and_opens_otherwise(page: Page) -> None:
    opened(page)
    tiles(page).nth(0).click(modifiers=["Control"])
    tiles(page).nth(2).click(modifiers=["Shift"])
    expect(selected(page)).to_have_count(3)
    # While something is selected, a click selects.
    tiles(page).nth(4).click()
    expect(selected(page)).to_have_count(4)
    page.get_by_role("button", name="Clear", exact=True).click()
    expect(selected(page)).to_have_count(0)
    tiles(page).nth(1).click()
    page.wait_for_url("**/generations/**")


def test_filters_stand_in_the_address_and_work_without_scripts(page: Page, machine: Computer) -> None:
    context = page.context.browser.new_context(base_url=machine.api, java_script_enabled=False)  # type: ignore[union-attr]
    plain = context.new_page()
    plain.goto("/gallery")
    plain.get_by_label("Text in the prompt").fill("COLOUR 3")
    plain.get_by_label("Batch").fill("spring")
    plain.get_by_role("button", name="Show").click()
    assert plain.url.endswith("/gallery?q=COLOUR+3&batch=spring")
    expect(plain.locator("#wall a")).to_have_count(1)
    plain.get_by_role("link", name="Remove the filter Prompt: COLOUR 3").click()
    assert plain.url.endswith("/gallery?batch=spring")
    expect(plain.locator("#wall a")).to_have_count(8)
    plain.select_option("#bulk-action", "retry")
    plain.get_by_role("button", name="Check…").click()
    expect(plain.get_by_role("heading", level=1)).to_have_text("0 of 8 generations can be submitted again")
    context.close()


def test_pictures_come_from_the_bucket_and_nothing_moves_when_they_do(page: Page) -> None:
    page.add_init_script(
        "window.shifts = 0; new PerformanceObserver(list => { for (const one of list.getEntries()) window.shifts += "
        "one.value; }).observe({type: 'layout-shift', buffered: true});"
    )
    # A slow machine draws a page before it has read all of it, unless the page forbids that.
    page.context.new_cdp_session(page).send("Emulation.setCPUThrottlingRate", {"rate": 8})
    for _ in range(3):
        opened(page)
        holds(page, "[...document.querySelectorAll('#wall img')].every(one => one.naturalWidth > 0)")
        assert page.evaluate("window.shifts") == 0


def test_a_look_comes_before_an_action_and_the_download_is_whole(page: Page, tmp_path: Path) -> None:
    opened(page)
    tiles(page).nth(0).focus()
    page.keyboard.press("Space")
    page.keyboard.press("Shift+ArrowRight")
    page.get_by_role("button", name="Check…").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("2 of 2 images can be downloaded")
    shoot(page, "gallery-look-desk-dark")
    with page.expect_download() as downloading:
        page.get_by_role("button", name="Download 2").click()
    path = tmp_path / "found.zip"
    downloading.value.save_as(path)
    assert downloading.value.suggested_filename == "spring.zip"
    with zipfile.ZipFile(path) as found:
        assert found.testzip() is None
        assert len(found.namelist()) == 2


def test_a_download_that_cannot_be_whole_ends_before_its_length(machine: Computer) -> None:
    ledger = Ledger(f"sqlite:///{next(machine.data.rglob('*.sqlite3'))}")
    (batch,) = ledger.generations.batch_ids("spring")
    last = ledger.generations.page(batch=batch)[-1].id
    (asset,) = ledger.generations.assets_of([last])[last]

    def note(sha256: str | None) -> None:
        with ledger.database.write() as connection:
            connection.execute(update(assets).where(assets.c.id == asset.id).values(sha256=sha256))

    with closing(ledger), urllib3.PoolManager() as pool:
        note("0" * 64)
        try:
            answer = pool.request("GET", f"{machine.api}/gallery/download?batch=spring", preload_content=False)
            with pytest.raises(urllib3.exceptions.ProtocolError):
                answer.read()
        finally:
            note(asset.sha256)
    logs = (machine.home / "up.log", *machine.data.rglob("*.log"))
    # What a process says comes there by way of `up`, a moment later.
    assert wait_for(lambda: str(asset.object_key) in "".join(log.read_text() for log in logs), seconds=10)


@pytest.fixture
def many(machine: Computer) -> None:
    """Very many pictures that the ledger knows, of different shapes, on the objects of one."""
    ledger = Ledger(f"sqlite:///{next(machine.data.rglob('*.sqlite3'))}")
    series = f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {MANY})"
    id_ = "printf('gen_%012x%020x', 1500000000000 + n.i, n.i)"
    with closing(ledger), ledger.database.write() as connection:
        for table, own, which in (
            (
                generations,
                {"id": id_, "key": "'M-' || n.i", "batch_id": "NULL", "dedupe": "NULL"},
                "state = 'archived'",
            ),
            (
                assets,
                {"id": "NULL", "generation_id": id_, '"index"': "0", "width": "512 + 128 * (n.i % 5)"},
                "thumbnail = 'made'",
            ),
        ):
            copied = [name for name in (column.name for column in table.columns) if name not in {*own, "index"}]
            connection.exec_driver_sql(
                f"INSERT INTO {table.name} ({', '.join([*own, *copied])}) {series} "
                f"SELECT {', '.join([*own.values(), *copied])} "
                f"FROM n, (SELECT * FROM {table.name} WHERE {which} LIMIT 1)"
            )


@pytest.mark.usefixtures("many")
def test_scrolling_through_thousands_never_blocks_for_long_and_going_back_finds_the_place(page: Page) -> None:
    page.add_init_script(
        "window.tasks = []; new PerformanceObserver(list => { for (const one of list.getEntries()) "
        "window.tasks.push(one.duration); }).observe({type: 'longtask', buffered: true}); window.shifts = 0;"
        "new PerformanceObserver(list => { for (const one of list.getEntries()) if (!one.hadRecentInput) "
        "window.shifts += one.value; }).observe({type: 'layout-shift', buffered: true});"
    )
    opened(page, "/gallery?key=M-*")
    shoot(page, "gallery-many-desk-dark")
    page.evaluate("window.tasks = []")
    while tiles(page).count() < MANY:
        # Whoever is quicker than the server sees the end of the wall, and it move.
        holds(page, "scrollY + 2 * innerHeight < document.querySelector('#more').offsetTop")
        page.mouse.wheel(0, 600)
        page.wait_for_timeout(50)
    longest = page.evaluate("Math.max(0, ...window.tasks)")
    assert longest < LONGEST_TASK * patient(1)
    assert page.evaluate("window.shifts") < 0.001
    tiles(page).nth(730).focus()
    page.keyboard.press("ArrowRight")
    place = tiles(page).nth(731).get_attribute("id")
    page.keyboard.press("Enter")
    page.wait_for_url("**/generations/**")
    page.go_back()
    holds(page, f"document.activeElement.id === '{place}'")
    assert tiles(page).nth(731).is_visible()
