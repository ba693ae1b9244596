"""Subscribers: addresses for signed webhooks, Celery tasks, and Redis streams."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase
from urllib.parse import urlsplit

from worker.net import PORTS, is_private, read_address

#: where Celery looks for tasks unless it is told otherwise
DEFAULT_QUEUE = "celery"

_TASK = re.compile(r"(?P<task>[\w.:-]+)(?:@(?P<queue>[\w.:-]+))?", re.ASCII)
_STREAM = re.compile(r"[\w.:{}-]+", re.ASCII)
#: characters that a part of an address has if it may be a token
_LEAST_SECRET = 8
_FORM = "is not of the form https://host/path"
_PATTERN = re.compile(r"[a-z0-9_.*]+", re.ASCII)


class Format(StrEnum):
    """What a webhook gets: the event as it is, or a line of text for Slack, which Discord takes at `…/slack`."""

    STANDARD = "standard"
    SLACK = "slack"


@dataclass(frozen=True, slots=True)
class Webhook:
    """A webhook. `name` is stored and may be shown; the address is a secret, because it may contain one.

    `secrets`: each signs; None where the settings have them.
    """

    name: str
    url: str = field(repr=False)
    secrets: Sequence[str] | None = field(default=None, repr=False)
    format: Format = Format.STANDARD


@dataclass(frozen=True, slots=True)
class CeleryTask:
    name: str
    task: str
    queue: str


@dataclass(frozen=True, slots=True)
class RedisStream:
    """A stream. `url`: of its Redis, which may contain a password; None: REDIS_URL."""

    name: str
    stream: str
    url: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class NotifyOrigin:
    """The host of addresses that submissions name. `url`: its scheme, host and port; each event has its own address."""

    name: str
    url: str


Subscriber = Webhook | CeleryTask | RedisStream | NotifyOrigin


def webhooks(text: str) -> list[Webhook]:
    """Parse addresses, separated by commas; raises ValueError with the number of the invalid one, but no address."""
    return [_webhook(number, url) for number, url in enumerate(_parts(text), start=1)]


def redis_stream(name: str, address: str) -> RedisStream:
    """Parse the name of a stream, or the URL of its Redis with the name behind a #; raises ValueError."""
    if "://" not in address:
        url, stream = None, address
    else:
        url, _, stream = address.partition("#")
        if not _is_redis(url):
            raise ValueError("write a stream on its own Redis as redis://host:port/0#its-name")
    if not _STREAM.fullmatch(stream):
        raise ValueError("the name of a stream consists of letters, digits and . : - _ { }")
    return RedisStream(name or f"stream:{stream}", stream, url)


def shown_address(subscriber: Subscriber) -> str:
    """Return where it is, without anything that may be a secret."""
    if isinstance(subscriber, CeleryTask):
        return f"{subscriber.task}@{subscriber.queue}"
    if isinstance(subscriber, RedisStream):
        return f"{_place(subscriber.url)}#{subscriber.stream}" if subscriber.url else subscriber.stream
    return f"{_place(subscriber.url)}/…"


def without_address(text: str, url: str) -> str:
    """Take the parts of an address that may be secret out of a reply."""
    parts = urlsplit(url)
    secret = {*parts.path.split("/"), *re.split("[&=]", parts.query), parts.path, parts.query}
    # Short ones are words that say nothing.
    for one in sorted((one for one in secret if len(one) >= _LEAST_SECRET), key=len, reverse=True):
        text = text.replace(one, "[redacted]")
    return text


def _is_redis(url: str) -> bool:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return False
    return parts.scheme in {"redis", "rediss"} and bool(parts.hostname)


def _place(url: str) -> str:
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{parts.scheme}://{host}{f':{parts.port}' if parts.port else ''}"


def celery_tasks(text: str) -> list[CeleryTask]:
    """Parse task names, `task` or `task@queue`, separated by commas; raises ValueError."""
    found = []
    for part in _parts(text):
        match = _TASK.fullmatch(part)
        if match is None:
            raise ValueError(
                f"invalid Celery task {part!r}; write it like billing.on_event or billing.on_event@its-queue"
            )
        found.append(CeleryTask(part, match["task"], match["queue"] or DEFAULT_QUEUE))
    return found


def patterns(text: str) -> list[str]:
    """Parse event patterns, separated by commas, `*` for any text; raises ValueError."""
    found = _parts(text)
    wrong = next((part for part in found if not _PATTERN.fullmatch(part)), None)
    if wrong is not None or not found:
        raise ValueError(f"invalid event pattern {wrong or ''!r}; write them like generation.*,asset.expired")
    return found


def is_wanted(event_type: str, wanted: Sequence[str]) -> bool:
    return any(fnmatchcase(event_type, pattern) for pattern in wanted)


def _webhook(number: int, url: str) -> Webhook:
    which = f"address number {number}"
    try:
        check_address(url)
    except ValueError as error:
        raise ValueError(f"{which} {error}") from None
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme == "http" and _is_global_literal(host):
        raise ValueError(f"{which} would send events unencrypted over the internet: use https")
    # The host identifies the subscriber for people; the digest distinguishes addresses of one host.
    return Webhook(f"{host}-{hashlib.sha256(url.encode()).hexdigest()[:8]}", url)


def check_address(url: str) -> None:
    """Raise ValueError if it is not a webhook address; the message continues a sentence and omits the address."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise ValueError(_FORM) from None
    is_text = url.isascii() and url.isprintable() and " " not in url
    if parts.scheme not in PORTS or not parts.hostname or not is_text:
        raise ValueError(_FORM)
    if parts.username is not None or parts.fragment:
        raise ValueError("has a user name or a #: remove it; webhooks are authenticated by their signature")


def _is_global_literal(host: str) -> bool:
    try:
        return not is_private(read_address(host))
    except ValueError:
        return False


def _parts(text: str) -> list[str]:
    return list(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
