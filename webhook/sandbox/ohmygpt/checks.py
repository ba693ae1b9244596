"""The requests that OhMyGPT refuses, and its error messages."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs

from flask import Request

from webhook.sandbox.dialect import Refusal
from webhook.sandbox.discord import is_data_link, is_http_link, is_unicode

_TEXTS = ("model", "prompt", "type", "webhook", "customId", "base64", "base64Mask", "dimensions")
_CHOICES: Mapping[str, frozenset[str]] = {
    "model": frozenset({"midjourney"}),
    "type": frozenset({"NORMAL", "FAST"}),
    "dimensions": frozenset({"PORTRAIT", "SQUARE", "LANDSCAPE"}),
}
#: images that can be blended
FEWEST, MOST = 2, 5
SMALLEST_PAGE, LARGEST_PAGE = 5, 20


def bad_request(message: str) -> Refusal:
    """`statusCode` is documented as 200 or 400, in a reply with HTTP status 200."""
    return Refusal(400, message)


def check_token(authorization: str | None) -> None:
    """Accept any token except `invalid` and `used-up`; raises Refusal."""
    scheme, _, token = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip() or token == "invalid":  # noqa: S105
        raise Refusal(401, "Unauthorized: invalid API key", status=401)
    if token == "used-up":  # noqa: S105
        raise Refusal(402, "Insufficient balance", status=402)


def read_fields(request: Request, *required: str) -> dict[str, Any]:
    """Return the fields of a form, as documented, or of JSON, as recommended, without blank ones. Raises Refusal."""
    if request.mimetype == "application/json":
        body = request.get_json(force=True, silent=True)
        if not isinstance(body, Mapping):
            raise bad_request("The body is not a JSON object")
        given = dict(body)
    else:
        form = parse_qs(request.get_data().decode("utf-8", "replace"))
        given = {name: values if name == "base64Array" else values[-1] for name, values in form.items()}
    fields = {name: value for name, value in given.items() if not _is_blank(value)}
    for name in ("model", *required):
        if name not in fields:
            raise bad_request(f"{name} is required")
    _check_types(fields)
    return fields


def _is_blank(value: Any) -> bool:
    return value is None or value == [] or (isinstance(value, str) and not value.strip())


def _check_types(fields: dict[str, Any]) -> None:
    for name in _TEXTS:
        value = fields.get(name)
        if value is None:
            continue
        if not isinstance(value, str) or not is_unicode(value):
            raise bad_request(f"{name} must be a string")
        if name in _CHOICES and value not in _CHOICES[name]:
            raise bad_request(f"{name} must be one of {', '.join(sorted(_CHOICES[name]))}")
        if name.startswith("base64") and not is_data_link(value):
            raise bad_request(f"{name} must be a base64 data URL")
        if name == "webhook" and not is_http_link(value):
            raise bad_request("webhook must be an http:// or https:// address")
    pictures = fields.get("base64Array", [])
    if not isinstance(pictures, list) or not all(map(is_data_link, pictures)):
        raise bad_request("base64Array must be a list of base64 data URLs")
    if "taskId" in fields:
        fields["taskId"] = _whole_number("taskId", fields["taskId"])


def check_blend(fields: Mapping[str, Any]) -> None:
    if not FEWEST <= len(fields["base64Array"]) <= MOST:
        raise bad_request(f"base64Array must have {FEWEST} to {MOST} images")


def check_page(page: Any, size: Any) -> tuple[int, int]:
    """Return the number (from 1) and size of a page; raises Refusal."""
    number, length = _whole_number("page", page), _whole_number("pageSize", size)
    if number < 1 or not SMALLEST_PAGE <= length <= LARGEST_PAGE:
        raise bad_request(f"page starts at 1 and pageSize is {SMALLEST_PAGE} to {LARGEST_PAGE}")
    return number, length


def _whole_number(name: str, value: Any) -> int:
    """Clients that send JSON may send the task id as text."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < 20:
        return int(value)
    raise bad_request(f"{name} must be an integer")
