"""Parses the JSON of midjourney-proxy and its relays.

Wire facts: ReturnCode.java and SubmitController.java of novicezk/midjourney-proxy, SubmitController.cs of
trueai-org/midjourney-proxy, relay/mjproxy_handler.go of QuantumNous/new-api for relays.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime

from worker.errors import AccountBlocked, NotTaken, ProviderError, Rejected, Uncertain
from worker.generation import Outcome, Status
from worker.providers.discord import GRID, Fields, read_record, read_task
from worker.providers.http import Refusal
from worker.providers.reading import clean_text, identifier

TITLE = "midjourney-proxy"
#: "already exists"; for an action: "its window is waiting to be filled in"
WINDOW = "21"
#: accepted; 22: accepted and queued
TAKEN = frozenset({"1", WINDOW, "22"})
#: relays report these under code 4, at the beginning of the description
EMPTY_BALANCE, UNKNOWN_TASK = "quota_not_enough", "task_no_found"
#: the relay had already called the proxy behind it
HALF_WAY = frozenset(
    {
        *("do_request_failed", "read_response_body_failed", "unmarshal_response_body_failed"),
        *("copy_response_body_failed", "insert_midjourney_task_failed"),
    }
)

CODES: Mapping[str, type[ProviderError]] = {
    # No account of the proxy is free.
    "3": NotTaken,
    "4": Rejected,
    # An exception on the way, perhaps after the request had reached Discord.
    "9": Uncertain,
    "23": NotTaken,
    "24": Rejected,
    # Relays: too many requests.
    "30": NotTaken,
    EMPTY_BALANCE: AccountBlocked,
    UNKNOWN_TASK: Rejected,
}
#: only the account that generated the parent can continue, and the account or the parent is gone
FOLLOW_UP_CODES = {**CODES, "3": Rejected}

_FIELDS = Fields(TITLE, task_id=("id", "task_id"), images=("imageUrl", "image_url"), buttons="buttons")
#: tasks of the Java version have no buttons; these are the kinds that its `change` accepts
_CHANGEABLE = ("IMAGINE", "VARIATION", "REROLL", "BLEND")


def code_of(reply: object) -> str | None:
    return clean_text(reply.get("code"), 40) if isinstance(reply, dict) else None


def opens_window(reply: object) -> bool:
    """Return whether the reply to an action opens a window to fill in, rather than naming an earlier identical task."""
    properties = reply.get("properties") if isinstance(reply, dict) else None
    existed = isinstance(properties, dict) and bool(properties.get("status"))
    return code_of(reply) == WINDOW and not existed


def task_of_reply(reply: object) -> str | None:
    """Return the task_id in the reply to a submission."""
    return identifier(reply.get("result")) if isinstance(reply, dict) else None


def read_refusal(data: object) -> Refusal | None:
    """Return the error in a reply: any code not in TAKEN. A task has no code, or a meaningless one."""
    if not isinstance(data, dict) or "status" in data:
        return None
    error = data.get("error")
    if isinstance(error, dict):
        # This is how relays of the one-api family refuse a key.
        return Refusal(error.get("code") or error.get("type"), error.get("message"))
    code = code_of(data)
    if code is None or code in TAKEN:
        return None
    message = data.get("description")
    word = message.split(maxsplit=1)[0] if isinstance(message, str) and message.strip() else ""
    if word in {EMPTY_BALANCE, UNKNOWN_TASK, *HALF_WAY}:
        code = word
    properties = data.get("properties")
    banned = clean_text(properties.get("bannedWord"), 60) if isinstance(properties, dict) else None
    return Refusal(code, f"{clean_text(message) or 'forbidden prompt'} ({banned})" if banned else message)


def read_relay(error: Rejected) -> ProviderError:
    """Return what a refusal really means: a relay's text may be more precise than its HTTP status, or less."""
    kind: type[ProviderError] = Rejected
    if error.code in HALF_WAY:
        kind = Uncertain
    elif error.status == 403 and error.code != "24":
        # The proxy refuses prompts with status 200, so this is a relay refusing the key.
        kind = AccountBlocked
    return kind(str(error.args[0]), code=error.code, status=error.status, trace_id=error.trace_id)


def read_callback(task: Mapping[str, object], received_at: datetime) -> Outcome:
    """Return the outcome in a callback. Raises CallbackUnreadable."""
    return _with_changes(task, read_task(task, _FIELDS, received_at))


def read_listed(task: Mapping[str, object]) -> Outcome | None:
    """Return the outcome of a queried task; None if it has no id."""
    # The time is compared only with dates in the links themselves.
    outcome = read_record(task, _FIELDS, datetime.now(UTC))
    return _with_changes(task, outcome) if outcome else None


def _with_changes(task: Mapping[str, object], outcome: Outcome) -> Outcome:
    drawn = outcome.status is Status.SUCCEEDED and outcome.links
    if drawn and not task.get("buttons") and task.get("action") in _CHANGEABLE:
        return replace(outcome, actions=GRID)
    return outcome
