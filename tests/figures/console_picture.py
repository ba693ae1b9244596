"""`make demo-picture`, its other half: the console of a running demo, as a browser shows it (`deploy/console.jpg`)."""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import sync_playwright

from tests.figures.demo_picture import ENTRY
from tests.figures.tables import ROOT

PICTURE = ROOT / "deploy" / "console.jpg"
_ADDRESS = re.compile(r"^Console: (\S+)$")
_WIDTH, _HEIGHT = 1280, 800
#: a function, since the page's policy forbids to evaluate text; those further down are loaded when somebody gets there
_ARE_SHOWN = """() => [...document.images]
    .filter((one) => one.getBoundingClientRect().top < innerHeight)
    .every((one) => one.complete && one.naturalWidth)"""


@contextmanager
def running_demo(folder: Path) -> Iterator[str]:
    """The address of the console, once all that the demo makes is archived."""
    env = {**os.environ, "DARKROOM_DATA": str(folder)}
    command = [sys.executable, "-u", "-c", ENTRY, "demo"]
    process = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        yield next(found[1] for line in process.stderr if (found := _ADDRESS.match(line)))
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate()


def main() -> None:
    browser_path = shutil.which("chromium")
    assert browser_path is not None, "Chromium is missing: apt-get install chromium"
    with (
        tempfile.TemporaryDirectory(prefix="darkroom-demo-") as name,
        running_demo(Path(name)) as address,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=browser_path, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": _WIDTH, "height": _HEIGHT}, color_scheme="dark")
        page.goto(f"{address}/gallery")
        page.wait_for_function(_ARE_SHOWN)
        page.screenshot(path=PICTURE, type="jpeg", quality=82)
        browser.close()


if __name__ == "__main__":
    main()
