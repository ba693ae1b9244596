"""Parses Ace Data Cloud's JSON: callbacks, task records and errors.

Wire facts: docs.acedata.cloud (concepts/responses, concepts/async-tasks) and the vendor's AceDataCloud/MidjourneyMCP.
Surprises: progress events already have `success: true`, and their links die with the next event; task records have no
status.
"""

import logging
from collections.abc import Mapping, Sequence

from worker.errors import AccountBlocked, CallbackUnreadable, NotTaken, ProviderError, Rejected
from worker.generation import AssetKind, Link, Operation, Outcome, Status, operation_of
from worker.providers.acedata.capabilities import CAPABILITIES, DEFAULTS, FIELDS, TEXTS
from worker.providers.http import Refusal
from worker.providers.listing import ListedTask, Shown, marks_of, moment, prompt_of, shown
from worker.providers.reading import clean_text, identifier, link, percent

log = logging.getLogger(__name__)

CODES: Mapping[str, type[ProviderError]] = {
    **dict.fromkeys(("bad_request", "api_not_implemented", "no_api", "forbidden"), Rejected),
    **dict.fromkeys(("no_token", "invalid_token", "token_expired", "token_mismatched"), AccountBlocked),
    **dict.fromkeys(("disabled", "used_up"), AccountBlocked),
    "too_many_requests": NotTaken,
    # Names from an older version of the vendor's page.
    **dict.fromkeys(("content_moderation", "task_not_found"), Rejected),
    **dict.fromkeys(("unauthorized", "insufficient_balance"), AccountBlocked),
    "rate_limited": NotTaken,
}


def _error(data: Mapping[str, object]) -> tuple[object, object]:
    """Return code and message as received. The vendor's own SDK expects that `error` may be a bare string or null."""
    error = data.get("error")
    return (error.get("code"), error.get("message")) if isinstance(error, dict) else (None, error)


def read_refusal(data: object) -> Refusal | None:
    """Return the error in a reply; it may come with or without `success: false`, and even with status 200."""
    if not isinstance(data, dict) or data.get("success") is True:
        return None
    if not data.get("error") and data.get("success") is not False:
        return None
    return Refusal(*_error(data), data.get("trace_id"))


def read_record(record: object) -> Outcome | None:
    """Return the outcome in a task record; None for an unknown task, whose record is empty."""
    if not isinstance(record, dict) or (task_id := identifier(record.get("id"))) is None:
        return None
    response = record.get("response")
    result: Mapping[str, object] = response if isinstance(response, dict) else {}
    finished = bool(record.get("finished_at"))
    if result.get("success") is not True and not finished and not _error(result)[0]:
        # According to the vendor's SDK, a failure with neither a code nor an end time may be transient.
        return Outcome(status=Status.IN_PROGRESS, task_id=task_id, progress=percent(result.get("progress")))
    try:
        return read_result(result, task_id, finished=finished, kind=record.get("type"))
    except CallbackUnreadable as error:
        log.warning("Ace Data Cloud: task %s ended, but its record is unusable: %s", task_id, error)
        return Outcome(status=Status.IN_PROGRESS, task_id=task_id)


def read_listed(record: object) -> ListedTask | None:
    """Return a task from a record of the list; None for a text, or for anything but a Midjourney task."""
    outcome = read_record(record)
    if outcome is None or not isinstance(record, dict) or (kind := clean_text(record.get("type"), 40)) in TEXTS:
        return None
    request = record.get("request")
    asked: Mapping[str, object] = request if isinstance(request, dict) else {}
    action = clean_text(asked.get("action"), 40)
    operation, action = _operation(kind, action, asked.get("video_index"))
    ids = {name: identifier(asked.get(name)) for name in ("image_id", "video_id")} if action else {}
    return ListedTask(
        outcome=outcome,
        operation=operation,
        prompt=prompt_of(asked.get("prompt")),
        created_at=moment(record.get("created_at")),
        is_over=bool(record.get("finished_at")),
        action=action,
        parent={name: value for name, value in ids.items() if value},
        marks=marks_of(asked.get("callback_url")),
        request=shown_fields(kind or "", asked),
    )


def shown_fields(kind: str, fields: Mapping[str, object]) -> Shown:
    """Return a request as its record's `request` shows it. `kind`: the last part of its path.

    In the vendor's example, the record also has the vendor's own bookkeeping and filled-in defaults.
    """
    said = {name: value for name in FIELDS if (value := fields.get(name)) and value != DEFAULTS.get(name)}
    # No field that we send is an object or a list.
    plain = {name: value if isinstance(value, str | int | float) else "?" for name, value in said.items()}
    return shown({"type": kind, **plain})


def _operation(kind: str | None, action: str | None, index: object) -> tuple[Operation, str | None]:
    """Return our operation and action; anything unknown counts as imagine."""
    if kind == "videos":
        number = index + 1 if isinstance(index, int) else 1
        return (Operation.VIDEO_EXTEND, f"extend{number}") if action == "extend" else (Operation.VIDEO, None)
    if kind == "edits":
        return Operation.EDIT, None
    operation = operation_of(action) if action else None
    return (operation, action) if operation else (Operation.IMAGINE, None)


def read_result(
    result: Mapping[str, object], task_id: str | None, *, finished: bool = False, kind: object = None
) -> Outcome:
    """Read a result: the whole body of a callback, or the `response` of a task record. Raises CallbackUnreadable.

    `kind`: the record's `type`, without which no text is accepted as a result.
    """
    success, error = result.get("success"), result.get("error")
    progress = percent(result.get("progress"))
    if success is not True and (error or (success is False and (finished or "error" in result))):
        code, message = _error(result)
        reason = clean_text(code, 100) or "failed"
        return Outcome(
            status=Status.FAILED, task_id=task_id, progress=progress, reason=reason, message=clean_text(message)
        )
    offered = result.get("actions")
    words = (
        [word for word in offered if isinstance(word, str) and identifier(word)] if isinstance(offered, list) else []
    )
    complete = finished or result.get("progress") is None or progress == 100 or bool(words)
    if not complete or not (success is True or (success is None and finished)):
        # Progress events contain links too, but these die with the next event.
        return Outcome(status=Status.IN_PROGRESS, task_id=task_id, progress=progress)
    links = _links(result)
    text = read_text(result, TEXTS[Operation(kind)]) if isinstance(kind, str) and kind in TEXTS else None
    if not links and not text:
        raise CallbackUnreadable("it reports success without a result")
    ids = {name: identifier(result.get(name)) for name in ("image_id", "video_id")}
    parent = {name: value for name, value in ids.items() if value}
    return Outcome(
        status=Status.SUCCEEDED,
        task_id=task_id,
        progress=100,
        links=links,
        text=text,
        actions=_actions(words, parent, links),
        parent=parent,
    )


def _actions(offered: Sequence[str], parent: Mapping[str, str], links: Sequence[Link]) -> tuple[str, ...]:
    """Return the actions that the reply offers, plus those that are possible according to the vendor's pages."""
    actions = list(offered)
    if "image_id" in parent and actions:
        # Single images offer these two, grids do not.
        actions += ["variation_region"] if {"variation_subtle", "variation_strong"} & {*actions} else []
        actions += ["seed"]
    if "video_id" in parent:
        videos = sum(link.kind is AssetKind.VIDEO for link in links)
        actions += CAPABILITIES[Operation.VIDEO_EXTEND].actions[:videos]
    return tuple(dict.fromkeys(actions))


def read_text(result: object, name: str) -> dict[str, object] | None:
    """Return a text result as a JSON object with this one field; None if it is missing or invalid."""
    value = result.get(name) if isinstance(result, dict) else None
    if name == TEXTS[Operation.SEED]:
        value = identifier(value)
    texts = value if isinstance(value, list) else [value]
    if not texts or not all(isinstance(text, str) and text.strip() for text in texts):
        return None
    return {name: value}


def _links(result: Mapping[str, object]) -> tuple[Link, ...]:
    """Return the grid or single image first (in full size if there is a choice), then its parts, then videos."""
    whole = result.get("raw_image_url") or result.get("image_url")
    found = [link(whole)] if whole else []
    for field, kind in (("sub_image_urls", AssetKind.IMAGE), ("video_urls", AssetKind.VIDEO)):
        urls = result.get(field) or []
        if not isinstance(urls, list):
            raise CallbackUnreadable(f"{field} is not a list")
        found += [link(url, kind) for url in urls]
    return tuple(dict.fromkeys(found))
