"""Parses the tasks of midjourney-proxy and, nearly the same, OhMyGPT, in callbacks and queries.

Wire facts: Task.java, TaskStatus.java and docs/api.md of novicezk/midjourney-proxy, TaskInfo.cs of
trueai-org/midjourney-proxy, ohmygptdocs.apifox.cn (the page about querying tasks).
"""

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from worker.downloads import deadline_of
from worker.errors import CallbackUnreadable
from worker.generation import Link, Outcome, Status
from worker.providers.discord.custom_ids import buttons_of
from worker.providers.reading import clean_text, identifier, link, percent, read_object

log = logging.getLogger(__name__)

DISCORD_HOSTS = frozenset({"cdn.discordapp.com", "media.discordapp.net"})
#: the assumed lifetime of a Discord link that states no expiry
RETENTION = timedelta(hours=24)
#: maximum characters of one description
DESCRIPTION = 4000

_STATUS: Mapping[str, Status] = {
    # Relays of the one-api family record a new task with an empty status.
    **dict.fromkeys(("", "NOT_START", "SUBMITTED", "IN_PROGRESS", "MODAL"), Status.IN_PROGRESS),
    "SUCCESS": Status.SUCCEEDED,
    **dict.fromkeys(("FAILURE", "FAILED", "CANCEL"), Status.FAILED),
}
_NUMBER = re.compile(r"^[ \t]*(?:[0-9]\ufe0f?\u20e3|[0-9]{1,2}[.)][ \t])", re.MULTILINE)
_PROGRESS = re.compile(r"([0-9]{1,3})(?:\.[0-9]+)?%?")


@dataclass(frozen=True, slots=True)
class Fields:
    """A vendor's field names. If there are several names, the first field with a value counts.

    With several `images`, the first link not known to be dead counts: all of them are the same image.
    """

    title: str
    task_id: tuple[str, ...]
    images: tuple[str, ...]
    buttons: str


def read_body(body: bytes) -> dict[str, object]:
    """Return the task in a callback, bare or as the `data` of an envelope. Raises CallbackUnreadable."""
    data = read_object(body)
    inner = data.get("data")
    task: dict[str, object] = inner if "status" not in data and isinstance(inner, dict) else data
    if "status" not in task:
        raise CallbackUnreadable("it has no status")
    return task


def read_task(task: Mapping[str, object], fields: Fields, at: datetime) -> Outcome:
    """Return a task's outcome as of this time. Raises CallbackUnreadable."""
    named = _first(task, fields.task_id)
    task_id = identifier(named)
    if task_id is None and named is not None:
        raise CallbackUnreadable("the task's id is not an identifier")
    said = task.get("status") or ""
    word = said.upper() if isinstance(said, str) else None
    status = None if word is None else _STATUS.get(word)
    if status is None:
        log.warning("%s: task %s has the unknown status %s", fields.title, task_id, clean_text(said, 40))
    progress = _progress(task.get("progress"))
    if status is Status.FAILED:
        message = clean_text(_first(task, ("failReason", "fail_reason", "message")))
        reason = "cancelled" if word == "CANCEL" else "failed"
        return Outcome(status=Status.FAILED, task_id=task_id, progress=progress, reason=reason, message=message)
    if status is not Status.SUCCEEDED:
        # Each preview replaces the last one, whose link then dies.
        return Outcome(status=Status.IN_PROGRESS, task_id=task_id, progress=progress)
    if task.get("action") == "DESCRIBE":
        # Its image is just the input image.
        return Outcome(
            status=Status.SUCCEEDED, task_id=task_id, progress=100, text={"descriptions": _descriptions(task)}
        )
    buttons = buttons_of(task.get(fields.buttons))
    parent = {**({"task_id": task_id} if task_id else {}), **buttons}
    return Outcome(
        status=Status.SUCCEEDED,
        task_id=task_id,
        progress=100,
        links=(_image(task, fields, at),),
        actions=tuple(buttons),
        parent=parent,
    )


def read_record(task: Mapping[str, object], fields: Fields, at: datetime) -> Outcome | None:
    """Like `read_task` for a queried task: if unusable, it is logged and stays in progress. None without an id."""
    try:
        outcome = read_task(task, fields, at)
    except CallbackUnreadable as error:
        task_id = identifier(_first(task, fields.task_id))
        if task_id is None:
            return None
        log.warning("%s: task %s ended, but it is unusable: %s", fields.title, task_id, error)
        return Outcome(status=Status.IN_PROGRESS, task_id=task_id)
    return outcome if outcome.task_id else None


def _first(task: Mapping[str, object], names: tuple[str, ...]) -> object:
    return next((task[name] for name in names if task.get(name) not in (None, "")), None)


def _progress(value: object) -> int | None:
    """Parse `46%`, `46` or a number; there is no progress before the start and after a failure."""
    if not isinstance(value, str):
        return percent(value)
    found = _PROGRESS.fullmatch(value.strip())
    return percent(int(found[1])) if found else None


def _image(task: Mapping[str, object], fields: Fields, at: datetime) -> Link:
    urls = [task[name] for name in fields.images if task.get(name)]
    if not urls:
        raise CallbackUnreadable("it reports success without a result")
    links = [link(url) for url in urls]
    alive = (one for one in links if deadline_of(one.url, seen_at=at, retention=RETENTION) > at)
    return next(alive, links[0])


def _descriptions(task: Mapping[str, object]) -> list[str]:
    """Return the prompts that describe an image, numbered `1️⃣` or `1.`, else one per line."""
    properties = task.get("properties")
    final = properties.get("finalPrompt") if isinstance(properties, dict) else None
    text = final or _first(task, ("promptEn", "prompt"))
    if not isinstance(text, str):
        raise CallbackUnreadable("it reports success without a description")
    parts = _NUMBER.split(text) if _NUMBER.search(text) else text.splitlines()
    found = [line for part in parts if (line := clean_text(part, DESCRIPTION))]
    if not found:
        raise CallbackUnreadable("it reports success without a description")
    return found
