"""Which requests Ace Data Cloud refuses, and with which words."""

import re
from collections.abc import Mapping
from typing import Any

from webhook.sandbox.acedata.actions import offered_actions
from webhook.sandbox.pictures import is_grid
from webhook.sandbox.task import Task

#: `/midjourney/imagine`: name → type
FIELDS: Mapping[str, type | tuple[type, ...]] = {
    "action": str,
    "async": bool,
    "callback_url": str,
    "hd": bool,
    "image_id": str,
    "mask": str,
    "mode": str,
    "moodboard": bool,
    "prompt": str,
    "quality": str,
    "split_images": bool,
    "style_reference": bool,
    "timeout": (int, float),
    "translation": bool,
    "version": str,
}
CHOICES: Mapping[str, frozenset[str]] = {
    "mode": frozenset({"fast", "relax", "turbo"}),
    "quality": frozenset({".25", ".5", "1", "2", "4"}),
}


class Refusal(Exception):
    """An answer in the documented error shape; `code` is one of the documented codes."""

    def __init__(self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = headers or {}


def bad_request(message: str) -> Refusal:
    return Refusal(400, "bad_request", message)


#: answers of the knobs that refuse a submission, and of the one that lies about an accepted one
_FAULT_ANSWERS: Mapping[str, tuple[int, str, str]] = {
    "too_many": (429, "too_many_requests", "You have exceeded the rate limit."),
    "unavailable": (503, "api_error", "Service unavailable."),
    "error_before": (500, "api_error", "Internal server error."),
    "error_after": (500, "api_error", "Internal server error."),
    "reject": (403, "forbidden", "Sorry! Our AI moderators feel your prompt might be against our community standards."),
}


def fault_answer(knob: str) -> Refusal:
    return Refusal(*_FAULT_ANSWERS[knob], {"Retry-After": "1"} if knob == "too_many" else None)


def check_token(authorization: str | None) -> None:
    """Any token will do, except `invalid` and `used-up`; raises Refusal."""
    scheme, _, token = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Refusal(400, "no_token", "No token is specified.")
    if token == "invalid":  # noqa: S105
        raise Refusal(401, "invalid_token", "The specified token is invalid or wrong.")
    if token == "used-up":  # noqa: S105
        raise Refusal(403, "used_up", "The quota of this API is used up.")


def check_imagine(body: Any) -> dict[str, Any]:
    """The known fields that are set; unknown ones are ignored, as the real API does. Raises Refusal."""
    if not isinstance(body, Mapping):
        raise bad_request("The json payload is not valid to request the API")
    fields = {name: body[name] for name in FIELDS if body.get(name) is not None}
    for name, value in fields.items():
        numeric = FIELDS[name] == (int, float)
        if not isinstance(value, FIELDS[name]) or (numeric and isinstance(value, bool)):
            raise bad_request(f"{name} has the wrong type: {type(value).__name__}")
        if isinstance(value, str) and re.search("[\ud800-\udfff]", value):
            raise bad_request(f"{name} is not valid Unicode")
        if name in CHOICES and value not in CHOICES[name]:
            raise bad_request(f"{name} must be one of {', '.join(sorted(CHOICES[name]))}")
    callback_url = fields.get("callback_url", "")
    if callback_url and not re.match(r"https?://[^/\s]+", callback_url):
        raise bad_request("callback_url is not an http:// or https:// address")
    if fields.setdefault("action", "generate") == "generate":
        if not fields.get("prompt", "").strip():
            raise bad_request("prompt is required")
    elif not fields.get("image_id"):
        raise bad_request(f"image_id is required for {fields['action']}")
    return fields


def check_action(parent: tuple[Task, int] | None, fields: Mapping[str, Any]) -> Task:
    """The parent of a follow-up, if it offers the action; raises Refusal."""
    if parent is None:
        raise bad_request("image_id is unknown")
    task, progress = parent
    if progress < 100 or task.finished_at is None or task.failure:
        raise bad_request("image_id belongs to an image that is not finished")
    action = fields["action"]
    if action == "variation_region" and not is_grid(task.action):
        # Documented to work after an upscale although no documented `actions` list has it.
        if not fields.get("mask"):
            raise bad_request("mask is required for variation_region")
    elif action not in offered_actions(task):
        raise bad_request(f"{action} is not available for this image")
    return task
