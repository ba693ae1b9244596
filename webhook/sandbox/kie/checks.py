"""The requests that Kie refuses, with the code in the body: the HTTP status is 200."""

from collections.abc import Mapping
from typing import Any

from webhook.sandbox.dialect import Refusal
from webhook.sandbox.kie.fields import EXTEND, GENERATE, TAKEN_BY, VIDEO_TYPES, Check
from webhook.sandbox.kie.task import KieTask


def invalid(message: str) -> Refusal:
    return Refusal(422, message)


def check_token(authorization: str | None, *, pays: bool = False) -> str:
    """Accept any token except `invalid`, and `used-up` where credits are charged; raises Refusal."""
    scheme, _, token = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or token.strip() in {"", "invalid"}:
        raise Refusal(401, "You do not have access permissions")
    if pays and token == "used-up":  # noqa: S105
        raise Refusal(402, "Insufficient credits")
    return token


def check_fields(body: Any, known: Mapping[str, Check], *required: str) -> dict[str, Any]:
    """Return the known fields that are set; null and an empty string do not count as set. Raises Refusal."""
    if not isinstance(body, Mapping):
        raise Refusal(400, "The request body is not a JSON object")
    fields = {name: body[name] for name in known if body.get(name) is not None and body[name] != ""}
    for name, value in fields.items():
        if problem := known[name](value):
            raise invalid(f"{name} {problem}")
    for name in required:
        _require(fields, name)
    return fields


def check_generate(body: Any) -> tuple[dict[str, Any], list[str]]:
    """Return the fields that apply to this type, and the names of those it ignores; raises Refusal."""
    fields = check_fields(body, GENERATE, "taskType", "prompt")
    kind = fields["taskType"]
    ignored = [name for name, types in TAKEN_BY.items() if name in fields and kind not in types]
    fields = {name: value for name, value in fields.items() if name not in ignored}
    if kind in TAKEN_BY["fileUrls"]:
        # Documented as required for img2img and video.
        _check_files(fields, kind)
    if kind in VIDEO_TYPES:
        _require(fields, "motion")
    return fields, ignored


def check_extend(body: Any) -> dict[str, Any]:
    """Raises Refusal."""
    fields = check_fields(body, EXTEND, "taskType", "taskId", "index")
    if fields["taskType"] == "mj_video_extend_manual":
        _require(fields, "prompt")
    else:
        fields.pop("prompt", None)
    return fields


def check_parent(parent: KieTask | None, *, video: bool) -> KieTask:
    """Return a finished task with four images, or with videos; raises Refusal."""
    if parent is None:
        raise Refusal(404, "The original task does not exist")
    if parent.finished_at is None or parent.failure:
        raise invalid("The original task is not finished successfully")
    if parent.is_video != video or (not video and len(parent.files) == 1):
        raise invalid(f"The original task has no {'videos' if video else 'four images'}")
    return parent


def _check_files(fields: Mapping[str, Any], kind: str) -> None:
    if "fileUrl" in fields and fields.get("fileUrls"):
        raise invalid("use either fileUrl or fileUrls")
    links = fields.get("fileUrls") or [link for link in [fields.get("fileUrl")] if link]
    if not links:
        raise invalid(f"fileUrls is required for {kind}")
    if kind in VIDEO_TYPES and len(links) > 1:
        raise invalid("fileUrls can only have one image link for videos")


def _require(fields: Mapping[str, Any], name: str) -> None:
    value = fields.get(name)
    if value is None or (isinstance(value, str) and not value.strip()):
        raise invalid(f"{name} is required")
