"""Subscribers from the settings: addresses for signed webhooks, and Celery tasks."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from urllib.parse import urlsplit

from worker.net import is_private, read_address

#: where Celery looks for tasks unless it is told otherwise
DEFAULT_QUEUE = "celery"

_TASK = re.compile(r"(?P<task>[\w.:-]+)(?:@(?P<queue>[\w.:-]+))?", re.ASCII)
_PATTERN = re.compile(r"[a-z0-9_.*]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class Webhook:
    """A webhook. `name` is stored and may be shown; the address is a secret, because it may contain one."""

    name: str
    url: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class CeleryTask:
    name: str
    task: str
    queue: str


Subscriber = Webhook | CeleryTask


def webhooks(text: str) -> list[Webhook]:
    """Parse addresses, separated by commas; raises ValueError with the number of the invalid one, but no address."""
    return [_webhook(number, url) for number, url in enumerate(_parts(text), start=1)]


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
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise ValueError(f"{which} is not of the form https://host/path") from None
    host = parts.hostname
    if parts.scheme not in {"http", "https"} or not host or not (url.isascii() and url.isprintable()) or " " in url:
        raise ValueError(f"{which} is not of the form https://host/path")
    if parts.username is not None or parts.fragment:
        raise ValueError(f"{which} has a user name or a #: remove it, webhooks are authenticated by their signature")
    if parts.scheme == "http" and _is_global_literal(host):
        raise ValueError(f"{which} would send events unencrypted over the internet: use https")
    # The host identifies the subscriber for people; the digest distinguishes addresses of one host.
    return Webhook(f"{host}-{hashlib.sha256(url.encode()).hexdigest()[:8]}", url)


def _is_global_literal(host: str) -> bool:
    try:
        return not is_private(read_address(host))
    except ValueError:
        return False


def _parts(text: str) -> list[str]:
    return list(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
