"""The days of budgets are those of one time zone, and the time zone database is always there."""

import zoneinfo
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from worker.errors import ConfigurationError
from worker.pricing.budget_days import day_of, first_day, read_zone
from worker.providers import PROVIDERS
from worker.settings.settings import Settings, load_settings

BERLIN = read_zone("Europe/Berlin")


@pytest.mark.parametrize(
    ("moment", "day"),
    [
        # 29 March has 23 hours there, 25 October has 25.
        ("2026-03-28T22:59:59", "2026-03-28"),
        ("2026-03-28T23:00:00", "2026-03-29"),
        ("2026-03-29T21:59:59", "2026-03-29"),
        ("2026-03-29T22:00:00", "2026-03-30"),
        ("2026-10-24T22:00:00", "2026-10-25"),
        ("2026-10-25T22:59:59", "2026-10-25"),
        ("2026-10-25T23:00:00", "2026-10-26"),
    ],
)
def test_a_day_begins_and_ends_at_midnight_there(moment: str, day: str):
    assert day_of(datetime.fromisoformat(moment).replace(tzinfo=UTC), BERLIN) == day


@pytest.mark.parametrize(
    ("now", "since"),
    [
        # Half past midnight after the short day, and half an hour before it after the long one.
        ("2026-03-29T22:30", date(2026, 3, 29)),
        ("2026-10-25T22:30", date(2026, 10, 24)),
    ],
)
def test_a_span_of_a_day_reaches_back_one_day_of_the_calendar(now: str, since: date):
    assert first_day(datetime.fromisoformat(now).replace(tzinfo=UTC), timedelta(days=1), BERLIN) == since


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("Berlin", "the nearest are Europe/Berlin"),
        ("europe/berln", "the nearest are Europe/Berlin"),
        ("new york", "the nearest are America/New_York"),
        ("Europe", "the nearest are Europe/"),
        ("../../etc/passwd", "write it like Europe/Berlin"),
        ("\x00", "write it like Europe/Berlin"),
    ],
)
def test_an_unknown_zone_is_refused_with_the_nearest(name: str, advice: str, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(ValueError, match=advice):
        read_zone(name)
    if name.isprintable():
        monkeypatch.setenv("DARKROOM_TIMEZONE", name)
        with pytest.raises(ConfigurationError, match=f"DARKROOM_TIMEZONE: unknown time zone .*{advice}"):
            load_settings()


@pytest.fixture
def no_system_zones() -> Iterator[None]:
    """As in an image without them."""
    zoneinfo.reset_tzpath([])
    zoneinfo.ZoneInfo.clear_cache()
    yield
    zoneinfo.reset_tzpath()


@pytest.mark.usefixtures("no_system_zones")
def test_zones_are_known_without_those_of_the_system():
    assert str(read_zone("Asia/Tokyo")) == "Asia/Tokyo"


def test_prices_have_the_zone_of_the_setting(tmp_path: Path):
    file = tmp_path / "prices.yaml"
    file.write_text("prices: [{price: 1}]\n")
    assert Settings(darkroom_prices=file).zone is UTC
    prices = Settings(darkroom_prices=file, darkroom_timezone="Pacific/Auckland").read_prices(PROVIDERS)
    assert prices is not None
    assert prices.day_of(datetime(2026, 11, 21, 12, tzinfo=UTC)) == "2026-11-22"
