"""A real Chromium, and a machine with pictures whose console it opens."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import urllib3
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

from tests.computer import DARKROOM, Computer
from tests.patience import patient

#: milliseconds; fixed for the whole run, and the machine may become busy only later
IN_TIME = patient(60) * 1000
#: without these, Chromium looks for its maker's hosts
_QUIET = ("--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run")
_RECIPE = """name: shop
steps:
  - {id: best, pick: person, timeout: 3d, do: upscale, max_cost: 0.15}
"""
_PRICES = "currency: USD\nprices: [{provider: acedata, price: 0.05}]\n"
#: what is told of statuses and outages that tests provoke
_PROVOKED = ("Failed to load resource", "Failed to fetch", "htmx:sse:error")
_BATCH = "sku,prompt,label.client\n" + "".join(f"B-{number:03},a mug in colour {number},acme\n" for number in range(8))


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    # Without a shell, each context is a window with all its parts, which takes three times the CPU.
    path = shutil.which("chromium-headless-shell") or shutil.which("chromium")
    assert path is not None, "Chromium is missing: apt-get install chromium-headless-shell"
    expect.set_options(timeout=IN_TIME)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path, args=[*_QUIET, "--no-sandbox", "--disable-gpu", "--disable-quic"]
        )
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def provider() -> Iterator[str]:
    """Its address. A process of its own: it outlives each file of tests, and so do its connections."""
    command = [DARKROOM, "sandbox", "--port", "0", "--delay", "0.2", "--size", "512", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        yield str(json.loads(process.stdout.readline())["url"])
        process.terminate()


@pytest.fixture(scope="session")
def machine(tmp_path_factory: pytest.TempPathFactory, provider: str) -> Iterator[Computer]:
    """One machine for all tests of this process, with a finished batch `spring`; tests add what they need."""
    computer = Computer(tmp_path_factory.mktemp("machine"))
    computer.env |= {"ACEDATACLOUD_BASE_URL": provider, "PUBLIC_URL": computer.url}
    (recipes := computer.home / "recipes").mkdir()
    (recipes / "shop.yaml").write_text(_RECIPE)
    (prices := computer.home / "prices.yaml").write_text(_PRICES)
    computer.env |= {"DARKROOM_RECIPES": str(recipes), "DARKROOM_PRICES": str(prices)}
    (computer.home / "spring.csv").write_text(_BATCH)
    with computer.up():
        done = computer.darkroom("batch", "submit", "spring.csv", "--name", "spring", "--watch", seconds=120)
        assert done.returncode == 0, done.stderr
        yield computer


@pytest.fixture
def page(chromium: Browser, machine: Computer) -> Iterator[Page]:
    """A page on which no script fails, and nothing is blocked by the content security policy."""
    context = chromium.new_context(base_url=machine.api, viewport={"width": 1440, "height": 900})
    context.set_default_timeout(IN_TIME)
    opened = context.new_page()
    errors: list[str] = []
    opened.on("pageerror", lambda error: errors.append(str(error)))
    opened.on("console", lambda message: errors.append(message.text) if _is_fault(message) else None)
    yield opened
    context.close()
    assert errors == []


@pytest.fixture
def plain(chromium: Browser, machine: Computer) -> Iterator[Page]:
    """A page without scripts."""
    context = chromium.new_context(base_url=machine.api, java_script_enabled=False)
    context.set_default_timeout(IN_TIME)
    yield context.new_page()
    context.close()


def listed(machine: Computer, what: str) -> list[dict[str, Any]]:
    """All `generations` or `approvals`, as the API has them: a command takes a second of the CPU to start."""
    found: list[dict[str, Any]] = []
    with urllib3.PoolManager() as pool:
        after: str | None = ""
        while after is not None:
            answer = pool.request("GET", f"{machine.api}/v1/{what}", fields={"after": after} if after else {})
            assert answer.status == 200, answer.data
            page = answer.json()
            found += page["data"]
            after = page["next"]
    return found


def _is_fault(message: ConsoleMessage) -> bool:
    return message.type == "error" and not any(words in message.text for words in _PROVOKED)


def shoot(page: Page, name: str) -> None:
    """Keep a screenshot in the folder SCREENSHOTS, if that is set."""
    if folder := os.environ.get("SCREENSHOTS"):
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)
