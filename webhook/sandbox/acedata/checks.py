"""The requests that Ace Data Cloud refuses, and its error messages."""

import base64
import binascii
import io
import re
from collections.abc import Mapping
from typing import Any

from PIL import Image, UnidentifiedImageError

from webhook.sandbox.acedata.actions import offered_actions
from webhook.sandbox.acedata.task import AceTask
from webhook.sandbox.dialect import Refusal
from webhook.sandbox.pictures import is_grid

_TYPES: Mapping[str, type | tuple[type, ...]] = {
    "async": bool,
    "hd": bool,
    "loop": bool,
    "moodboard": bool,
    "split_images": bool,
    "style_reference": bool,
    "timeout": (int, float),
    "translation": bool,
    "video_index": int,
}
#: endpoint → its fields; fields that `_TYPES` does not list are texts
_FIELDS: Mapping[str, tuple[str, ...]] = {
    "imagine": (
        *("action", "async", "callback_url", "hd", "image_id", "mask", "mode", "moodboard", "prompt", "quality"),
        *("split_images", "style_reference", "timeout", "translation", "version"),
    ),
    "edits": ("action", "async", "callback_url", "image_url", "mask", "mode", "prompt", "split_images"),
    "videos": (
        *("action", "async", "callback_url", "end_image_url", "image_url", "loop", "mode", "prompt", "resolution"),
        *("video_id", "video_index"),
    ),
    "describe": ("image_url",),
    "translate": ("content",),
    "seed": ("image_id",),
    "shorten": ("prompt",),
}
_ACTIONS: Mapping[str, frozenset[str]] = {"edits": frozenset({"generate"}), "videos": frozenset({"generate", "extend"})}
_CHOICES: Mapping[str, frozenset[str]] = {
    "mode": frozenset({"fast", "relax", "turbo"}),
    "quality": frozenset({".25", ".5", "1", "2", "4"}),
    "resolution": frozenset({"480p", "720p"}),
}
_LINK = re.compile(r"https?://[^/\s]+")


def refusal(status: int, code: str, message: str) -> Refusal:
    """`code` is one of the documented codes."""
    return Refusal(code, message, status=status)


def bad_request(message: str) -> Refusal:
    return refusal(400, "bad_request", message)


def check_token(authorization: str | None) -> None:
    """Accept any token except `invalid` and `used-up`; raises Refusal."""
    scheme, _, token = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise refusal(400, "no_token", "No token is specified.")
    if token == "invalid":  # noqa: S105
        raise refusal(401, "invalid_token", "The specified token is invalid or wrong.")
    if token == "used-up":  # noqa: S105
        raise refusal(403, "used_up", "The quota of this API is used up.")


def check_imagine(body: Any) -> dict[str, Any]:
    """Return the known fields that are set; ignore unknown ones, as the real API does. Raises Refusal."""
    fields = check_fields("imagine", body)
    if fields.setdefault("action", "generate") == "generate":
        _require(fields, "prompt")
    elif not fields.get("image_id"):
        raise bad_request(f"image_id is required for {fields['action']}")
    return fields


def check_edits(body: Any) -> dict[str, Any]:
    """As for `check_imagine`."""
    fields = check_fields("edits", body)
    _require(fields, "prompt", "image_url")
    return {"action": "generate", **fields}


def check_videos(body: Any) -> dict[str, Any]:
    """As for `check_imagine`."""
    fields = check_fields("videos", body)
    _require(fields, "prompt", "image_url" if fields.setdefault("action", "generate") == "generate" else "video_id")
    if fields.get("mode") == "relax":
        raise bad_request("mode must be one of fast, turbo")
    return fields


def check_text(endpoint: str, body: Any) -> dict[str, str]:
    """Return the one field of an endpoint that replies with a text. Raises Refusal."""
    fields = check_fields(endpoint, body)
    _require(fields, *_FIELDS[endpoint])
    return fields


def check_fields(endpoint: str, body: Any) -> dict[str, Any]:
    """Check each field by itself. Raises Refusal."""
    if not isinstance(body, Mapping):
        raise bad_request("The json payload is not valid to request the API")
    fields = {name: body[name] for name in _FIELDS[endpoint] if body.get(name) is not None}
    for name, value in fields.items():
        kind = _TYPES.get(name, str)
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise bad_request(f"{name} has the wrong type: {type(value).__name__}")
        if isinstance(value, str) and re.search("[\ud800-\udfff]", value):
            raise bad_request(f"{name} is not valid Unicode")
        allowed = _ACTIONS.get(endpoint) if name == "action" else _CHOICES.get(name)
        if allowed and value not in allowed:
            raise bad_request(f"{name} must be one of {', '.join(sorted(allowed))}")
        if name.endswith("_url") and value and not _LINK.match(str(value)):
            raise bad_request(f"{name} is not an http:// or https:// address")
    if mask := fields.get("mask"):
        _check_mask(mask)
    return fields


def check_action(parent: AceTask | None, fields: Mapping[str, Any]) -> AceTask:
    """Return the parent of a follow-up, if it offers the action; raises Refusal."""
    parent = check_image(parent, fields["image_id"])
    action = fields["action"]
    if action == "variation_region" and parent.type == "imagine" and not is_grid(parent.action):
        # Documented to work after an upscale, although no documented `actions` list contains it.
        if not fields.get("mask"):
            raise bad_request("mask is required for variation_region")
    elif parent.type != "imagine" or action not in offered_actions(parent.action):
        raise bad_request(f"{action} is not available for this image")
    return parent


def check_image(parent: AceTask | None, image_id: str) -> AceTask:
    """Return the task that made this image, if it is finished; raises Refusal."""
    if parent is None:
        raise bad_request("image_id is unknown")
    if image_id != parent.image_id or parent.finished_at is None or parent.failure:
        raise bad_request("image_id belongs to an image that is not finished")
    return parent


def check_video(parent: AceTask | None, index: int) -> AceTask:
    """Return the parent of an extension, if it has such a video; raises Refusal."""
    if parent is None or parent.type != "videos" or parent.finished_at is None or parent.failure:
        raise bad_request("video_id is unknown")
    videos = sum(file.mimetype == "video/mp4" for file in parent.files)
    if not 0 <= index < videos:
        raise bad_request(f"video_index must be from 0 to {videos - 1}")
    return parent


def _require(fields: Mapping[str, Any], *names: str) -> None:
    for name in names:
        if not fields.get(name, "").strip():
            raise bad_request(f"{name} is required")


def _check_mask(mask: str) -> None:
    """The reference shows a link, the guide an image in Base64 without a `data:` prefix."""
    if _LINK.match(mask):
        return
    try:
        with Image.open(io.BytesIO(base64.b64decode(mask, validate=True))) as image:
            image.load()
    except (binascii.Error, UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError, ValueError):
        raise bad_request("mask is neither an address nor an image in Base64") from None
