"""Parses OhMyGPT's JSON.

Wire facts: ohmygptdocs.apifox.cn (imagine and query pages); jiusiguer/mid-ohmygptapi for callbacks, which no page
describes.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime

from worker.errors import AccountBlocked, NotTaken, ProviderError, Rejected, Uncertain
from worker.generation import Outcome
from worker.providers.discord import PAN, UPSCALE, VARIATION, ZOOM, Fields, read_record, read_task
from worker.providers.http import Refusal
from worker.providers.listing import Shown, shown

TITLE = "OhMyGPT"

UNKNOWN_TASK, SERVER_ERROR = "unknown_task", "server_error"
#: `statusCode`: only 200 and 400 are documented, so the message of a 400 says more; the others mean the same as in HTTP
CODES: Mapping[str, type[ProviderError]] = {
    UNKNOWN_TASK: Rejected,
    SERVER_ERROR: Uncertain,
    **dict.fromkeys(("400", "404", "413", "422"), Rejected),
    **dict.fromkeys(("401", "402", "403"), AccountBlocked),
    **dict.fromkeys(("429", "503"), NotTaken),
}

_MEANINGS = (
    (SERVER_ERROR, re.compile(r"server error|time[ -]?out|timed out|服务器|超时", re.IGNORECASE)),
    (UNKNOWN_TASK, re.compile(r"task.*(not exist|not found)|任务不存在", re.IGNORECASE)),
)

# Clients use the Discord link, and its host is known. The other link is not always present, and no page says where it
# points or how long it lives. It is the fallback once the first has died, if DARKROOM_DOWNLOAD_ALLOW names its host.
_FIELDS = Fields(TITLE, task_id=("taskId",), images=("imageDcUrl", "imageS3Url"), buttons="actions")

#: `taskType` of a request without a `type`
DEFAULT_POOL = "FAST"
#: without the actions whose window this API cannot fill in
_ACTIONS = frozenset({*UPSCALE, *VARIATION, *PAN, *ZOOM, "reroll", "variation_region"})


def read_callback(task: Mapping[str, object], received_at: datetime) -> Outcome:
    """Return the outcome in a callback. Raises CallbackUnreadable."""
    return _completed(task, read_task(task, _FIELDS, received_at))


def read_listed(task: Mapping[str, object]) -> Outcome | None:
    """Return the outcome of a queried task; None if it has no id."""
    # The time is compared only with dates in the links themselves.
    outcome = read_record(task, _FIELDS, datetime.now(UTC))
    return _completed(task, outcome) if outcome else None


def shown_imagine(task: Mapping[str, object], *, is_all: bool = True) -> Shown | None:
    """Return what the list shows of an imagine's request; None for any other task."""
    prompt, pool = task.get("prompt"), task.get("taskType")
    if task.get("action") != "IMAGINE" or not isinstance(prompt, str) or not isinstance(pool, str):
        return None
    return shown({"prompt": prompt.strip(), "taskType": pool}, is_all=is_all)


def _completed(task: Mapping[str, object], outcome: Outcome) -> Outcome:
    """Add what only this vendor's follow-ups need, and drop buttons that the API cannot use."""
    used = task.get("taskType")
    pool = {"pool": used} if outcome.parent and isinstance(used, str) and used in ("NORMAL", "FAST") else {}
    parent = {name: value for name, value in outcome.parent.items() if name in _ACTIONS or name == "task_id"}
    return replace(outcome, actions=tuple(word for word in outcome.actions if word in _ACTIONS), parent=parent | pool)


def read_refusal(data: object) -> Refusal | None:
    """Return the error: a `statusCode` other than 200. One client saw `{"code": …, "message": …}` instead."""
    if not isinstance(data, dict):
        return None
    code = data.get("statusCode")
    if code is None and "code" in data:
        code, message = data["code"] or None, data.get("message")
        return Refusal(code, message) if code or message else None
    if code is None or str(code) == "200":
        return None
    message = data.get("message")
    if str(code) == "400" and isinstance(message, str):
        code = next((word for word, pattern in _MEANINGS if pattern.search(message)), code)
    return Refusal(code, message)
