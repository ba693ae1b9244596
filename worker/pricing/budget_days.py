"""Budget days, in the time zone of DARKROOM_TIMEZONE. Pure."""

from collections.abc import Collection
from datetime import UTC, date, datetime, timedelta, tzinfo
from difflib import get_close_matches
from zoneinfo import ZoneInfo, available_timezones


def read_zone(name: str) -> tzinfo:
    """Return the time zone. Raises ValueError, with the nearest names, for an unknown one."""
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, LookupError):
        # An unknown name, an invalid name and a folder of the database raise three different errors.
        nearest = _nearest(name, available_timezones())
        advice = f"the nearest are {', '.join(nearest)}" if nearest else "write it like Europe/Berlin"
        raise ValueError(f"unknown time zone {name[:40]!r}; {advice}") from None


def day_of(moment: datetime, zone: tzinfo) -> str:
    """Return the day of a time, such as 2026-11-21."""
    return moment.astimezone(zone).date().isoformat()


def first_day(now: datetime, span: timedelta, zone: tzinfo) -> date:
    """Return the first day of a span of whole calendar days; a day may have 23 or 25 hours."""
    return (now.astimezone(zone).replace(tzinfo=None) - span).date()


def _nearest(name: str, known: Collection[str]) -> list[str]:
    """Return the nearest names, compared case-insensitively by whole name or by city."""
    by_word: dict[str, str] = {}
    for one in sorted(known):
        by_word |= {one.lower(): one, one.rpartition("/")[2].lower(): one}
    word = "_".join(name.lower().split())
    found = [*get_close_matches(word, by_word, 3, 0.7), *get_close_matches(word.rpartition("/")[2], by_word, 3, 0.7)]
    return list(dict.fromkeys(by_word[one] for one in found))[:3]
