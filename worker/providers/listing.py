"""A provider's own list of tasks, including tasks created elsewhere or missing from the ledger."""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum

from worker.errors import QueryFailed
from worker.generation import Operation, Outcome

MOST_TASKS = 20_000
#: characters; more than any provider accepts
_PROMPT = 10_000

_OURS = re.compile(r"/callbacks/[^/?#]+/([0-9a-f]{32})/")
_ATTEMPT = re.compile(r"[0-9a-f]{32}")


class Listed(StrEnum):
    """Whether a provider lists its tasks, and how to identify ours."""

    NO = "no"
    BY_CALLBACK_URL = "by callback URL"
    BY_STATE = "by state"
    #: for a submission that carried no callback URL
    BY_REQUEST = "by its request"


@dataclass(frozen=True, slots=True)
class Shown:
    """A request as a provider's list shows it: the same text for the same request. `is_all`: the text is complete."""

    text: str
    is_all: bool = True


def shown(fields: Mapping[str, object], *, is_all: bool = True) -> Shown:
    return Shown(json.dumps(fields, sort_keys=True, ensure_ascii=False), is_all)


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedTask:
    """`outcome` has a task_id. `marks`: what its submitter sent to recognize it (callback URL, state).

    `request`: what the list shows of the request, to compare with `Provider.shown_request`.

    `is_over`: the provider has finished with the task. If its outcome is still in progress, the result is unusable.
    """

    outcome: Outcome
    operation: Operation
    prompt: str
    created_at: datetime | None
    is_over: bool
    action: str | None = None
    parent: Mapping[str, str] = field(default_factory=dict)
    marks: tuple[str, ...] = ()
    request: Shown | None = None

    @property
    def attempt_id(self) -> str | None:
        """Return the attempt id, of this or another Darkroom's submission; None for a foreign task."""
        for mark in self.marks:
            if _ATTEMPT.fullmatch(mark):
                return mark
            if found := _OURS.search(mark):
                return found[1]
        return None


def marks_of(*values: object) -> tuple[str, ...]:
    return tuple(value for value in values if isinstance(value, str) and value)


def prompt_of(value: object) -> str:
    """Return the prompt with its links and up to _PROMPT characters; "" if it is not text."""
    return value[:_PROMPT] if isinstance(value, str) else ""


def moment(value: object) -> datetime | None:
    """Parse a list's time: seconds or milliseconds since 1970, even as text, or ISO 8601. None if it is not a time."""
    if isinstance(value, str):
        text = value.strip()
        if not re.fullmatch(r"[0-9]+(\.[0-9]+)?", text):
            return _iso(text)
        value = float(text)
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        return None
    try:
        # No list reaches back to 1973 in milliseconds, or ahead to 5138 in seconds.
        return datetime.fromtimestamp(value / 1000 if value > 1e11 else value, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _iso(text: str) -> datetime | None:
    try:
        read = datetime.fromisoformat(text)
    except ValueError:
        return None
    return read.replace(tzinfo=UTC) if read.tzinfo is None else read.astimezone(UTC)


def paged(page: Callable[[int, int], Sequence[ListedTask | None]], since: datetime, title: str) -> Iterator[ListedTask]:
    """Yield the tasks since then from a paged list. `page` receives the page's number, from 0, and its offset in tasks.

    Stops early at an older page if tasks are sorted newest first. They are wherever we have looked, but none of these
    vendors documents the order. Raises QueryFailed for a list that does not end.
    """
    seen, number, before = 0, 0, None
    while tasks := page(number, seen):
        ids = [task and task.outcome.task_id for task in tasks]
        times = [task.created_at for task in tasks if task and task.created_at]
        if ids == before:
            # The provider supports only one page.
            return
        yield from (task for task in tasks if task and (task.created_at is None or task.created_at >= since))
        if times and max(times) < since and times[0] >= times[-1]:
            return
        seen, number, before = seen + len(tasks), number + 1, ids
        if seen >= MOST_TASKS:
            raise QueryFailed(
                f"{title} lists more than {MOST_TASKS} tasks since then: choose a shorter time", code="long_list"
            )
