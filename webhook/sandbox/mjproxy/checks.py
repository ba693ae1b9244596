"""The requests that midjourney-proxy refuses, and its codes; its refusals have HTTP status 200."""

import re
from collections.abc import Mapping
from typing import Any

from flask import Request

from webhook.sandbox.dialect import Refusal
from webhook.sandbox.discord import is_data_link, is_http_link, is_unicode

#: ReturnCode.java
SUCCESS, NOT_FOUND, VALIDATION_ERROR, FAILURE = 1, 3, 4, 9
#: 21 is named "exists"; the C# fork sends it when a window waits for confirmation
WINDOW, IN_QUEUE, QUEUE_REJECTED, BANNED_PROMPT = 21, 22, 23, 24

_TEXTS = (
    "prompt",
    "taskId",
    "action",
    "content",
    "customId",
    "base64",
    "maskBase64",
    "dimensions",
    "state",
    "notifyHook",
)
#: characters, from the C# fork
_LONGEST: Mapping[str, int] = {"state": 255, "notifyHook": 2000}
_CONTENT = re.compile(r"(\S+) +(?:(R)|([UV])([1-4]))")
_SPEED = re.compile(r"(?<!\S)--(relax|fast|turbo)(?!\S)")
_CHANGES = {"U": "upscale", "V": "variation", "UPSCALE": "upscale", "VARIATION": "variation"}


def bad_request(message: str) -> Refusal:
    return Refusal(VALIDATION_ERROR, message)


def check_secret(request: Request) -> None:
    """Accept any `mj-api-secret`, or bearer token as relays use, except `invalid` and `used-up`."""
    bearer = request.headers.get("Authorization", "").removeprefix("Bearer ").strip()
    secret = request.headers.get("mj-api-secret") or bearer
    if not secret or secret == "invalid":  # noqa: S105
        raise Refusal(VALIDATION_ERROR, "unauthorized", status=401)
    if secret == "used-up":  # noqa: S105
        raise Refusal(VALIDATION_ERROR, "quota_not_enough", status=402)


def read_fields(request: Request) -> dict[str, Any]:
    """Return the fields of the JSON body that are set; raises Refusal."""
    body = request.get_json(force=True, silent=True)
    if not isinstance(body, Mapping):
        raise bad_request("参数错误")
    fields = {name: value for name, value in body.items() if value not in (None, "")}
    for name in _TEXTS:
        value = fields.get(name, "")
        if not isinstance(value, str) or not is_unicode(value) or len(value) > _LONGEST.get(name, len(value)):
            raise bad_request(f"{name}参数错误")
    if "notifyHook" in fields and not is_http_link(fields["notifyHook"]):
        raise bad_request("notifyHook参数错误")
    pictures = fields.get("base64Array", [])
    if not isinstance(pictures, list) or not all(map(is_data_link, pictures)):
        raise bad_request("base64格式错误")
    return fields


def check_speed(fields: Mapping[str, Any], mode: str | None) -> str:
    """Return the speed from `accountFilter`, else the path, else the prompt; the default is fast. Raises Refusal."""
    chosen = fields.get("accountFilter", {})
    modes = chosen.get("modes", []) if isinstance(chosen, dict) else None
    if not isinstance(modes, list) or not {str(one).lower() for one in modes} <= {"relax", "fast", "turbo"}:
        raise bad_request("accountFilter参数错误")
    if modes:
        return str(modes[0]).lower()
    if mode:
        return mode.removeprefix("mj-")
    said = _SPEED.search(str(fields.get("prompt", "")))
    return said[1] if said else "fast"


def check_prompt(fields: Mapping[str, Any]) -> str:
    prompt = str(fields.get("prompt", "")).strip()
    if not prompt:
        raise bad_request("prompt不能为空")
    return prompt


def check_blend(fields: Mapping[str, Any]) -> int:
    """Return the number of images to blend; raises Refusal."""
    count = len(fields.get("base64Array", []))
    if not 2 <= count <= 5:
        raise bad_request("base64List参数错误")
    if fields.get("dimensions", "SQUARE") not in {"PORTRAIT", "SQUARE", "LANDSCAPE"}:
        raise bad_request("dimensions参数错误")
    return count


def check_change(fields: Mapping[str, Any]) -> tuple[str, str]:
    """Return the parent's id and the action; raises Refusal."""
    task_id, action, index = fields.get("taskId"), fields.get("action"), fields.get("index")
    if not task_id:
        raise bad_request("taskId不能为空")
    if action == "REROLL":
        return task_id, "reroll"
    if action not in {"UPSCALE", "VARIATION"}:
        raise bad_request("action参数错误")
    if isinstance(index, bool) or index not in (1, 2, 3, 4):
        raise bad_request("index参数错误")
    return task_id, f"{_CHANGES[action]}{index}"


def check_simple_change(fields: Mapping[str, Any]) -> tuple[str, str]:
    """Return the same from `content`, like `1320098173412546 U2`; raises Refusal."""
    found = _CONTENT.fullmatch(str(fields.get("content", "")).strip())
    if found is None:
        raise bad_request("content参数错误")
    return found[1], "reroll" if found[2] else f"{_CHANGES[found[3]]}{found[4]}"
