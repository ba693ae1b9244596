"""The wait that a server requests."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime


def read_retry_after(headers: Mapping[str, str]) -> timedelta | None:
    """Return the wait in `Retry-After`, given in seconds or as a date (RFC 9110); None if absent or invalid."""
    value = headers.get("Retry-After")
    if value is None:
        return None
    try:
        if value.strip().isdecimal():
            return timedelta(seconds=int(value))
        # By the server's clock if the response states it: ours may be wrong.
        now = headers.get("Date")
        wait = _moment(value) - (_moment(now) if now else datetime.now(UTC))
    except (ValueError, OverflowError):
        return None
    return max(wait, timedelta(0))


def _moment(date: str) -> datetime:
    moment = parsedate_to_datetime(date)
    return moment.replace(tzinfo=moment.tzinfo or UTC)
