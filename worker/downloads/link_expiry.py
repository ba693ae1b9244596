"""When a result link expires. Archiving fetches the earliest first, so an error here can lose a paid image."""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl

#: a time further than this from when the link was seen is invalid, or the link never expires
PLAUSIBLE = timedelta(days=3653)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_COMPACT = "%Y%m%dT%H%M%SZ"


def deadline_of(url: str, *, seen_at: datetime, retention: timedelta) -> datetime:
    """Return the time (UTC) at which this link stops working; it may be in the past.

    Links state it in their query: `ex` (Discord and its mirrors), `X-Amz-Date` + `X-Amz-Expires` (S3),
    `X-Goog-Date` + `X-Goog-Expires` (Google), `Expires` (CloudFront, older S3) or `se` (Azure). If there are several,
    the earliest counts; if there is no valid one, the link lives for `retention` from `seen_at`.
    """
    told = [moment for moment in _told(url) if abs(moment - seen_at) <= PLAUSIBLE]
    return min(told) if told else seen_at.astimezone(UTC) + retention


def is_told(url: str, deadline: datetime) -> bool:
    """Return whether the link itself contains this deadline, which is then not an estimate."""
    return any(abs(moment - deadline) < timedelta(seconds=1) for moment in _told(url))


def _told(url: str) -> Iterator[datetime]:
    parameters = dict(parse_qsl(url.partition("#")[0].partition("?")[2]))
    for read in _READERS:
        with suppress(KeyError, ValueError, OverflowError):
            yield read(parameters)


def _seconds(digits: str) -> timedelta:
    # int() alone would also accept signs, underscores, blanks and the digits of other scripts.
    if not re.fullmatch(r"[0-9]{1,20}", digits):
        raise ValueError(digits)
    return timedelta(seconds=int(digits))


def _discord(parameters: Mapping[str, str]) -> datetime:
    digits = parameters["ex"]
    if not re.fullmatch(r"[0-9a-fA-F]{1,16}", digits):
        raise ValueError(digits)
    return _EPOCH + timedelta(seconds=int(digits, 16))


def _unix(parameters: Mapping[str, str]) -> datetime:
    return _EPOCH + _seconds(parameters["Expires"])


def _amazon(parameters: Mapping[str, str]) -> datetime:
    return _compact(parameters["X-Amz-Date"]) + _seconds(parameters["X-Amz-Expires"])


def _google(parameters: Mapping[str, str]) -> datetime:
    return _compact(parameters["X-Goog-Date"]) + _seconds(parameters["X-Goog-Expires"])


def _compact(text: str) -> datetime:
    return datetime.strptime(text, _COMPACT).replace(tzinfo=UTC)


def _azure(parameters: Mapping[str, str]) -> datetime:
    moment = datetime.fromisoformat(parameters["se"])
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


_READERS: tuple[Callable[[Mapping[str, str]], datetime], ...] = (_discord, _unix, _amazon, _google, _azure)
