"""How a page looks: at every size, in dark and in light, it is accessible and does not scroll sideways."""

from collections.abc import Iterator, Sequence

from axe_playwright_python.base import AXE_SCRIPT, AxeResults
from playwright.sync_api import Page

from tests.system.console.conftest import shoot

#: CSS pixels: a large screen, a phone, and 1280 pixels at 400 %
SIZES = {"desk": (1440, 900), "phone": (390, 844), "zoomed": (320, 640)}
# Only what is wrong comes back: all that was looked at would take as long to carry over as the look itself.
_RUN = "axe.run({ resultTypes: ['violations'] }).then(({ violations }) => ({ violations }))"


def every_size(page: Page) -> Iterator[str]:
    """Give the page one size after the other, by name; load it anew in each, for a script may look at the width."""
    for size, (width, height) in SIZES.items():
        page.set_viewport_size({"width": width, "height": height})
        yield size


def looks_right(page: Page, name: str, schemes: Sequence[str] = ("dark", "light")) -> None:
    """Check the page as it stands; a screenshot of each scheme has the name."""
    page.evaluate(AXE_SCRIPT)
    for scheme in schemes:
        # Without motion a colour is the new one at once, and not on its way from that of the other scheme.
        page.emulate_media(color_scheme="dark" if scheme == "dark" else "light", reduced_motion="reduce")
        shoot(page, f"{name}-{scheme}")
        found = AxeResults(page.evaluate(_RUN))
        assert found.violations_count == 0, f"{name}, {scheme}: {found.generate_report()}"
        assert page.viewport_size is not None
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= page.viewport_size["width"], f"{name}, {scheme}: {wide} pixels wide"
