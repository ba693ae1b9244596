"""Ace Data Cloud."""

from collections.abc import Mapping
from typing import Any

from tests.worker.providers.dialects.dialect import API_TOKEN, Dialect
from worker.errors import AccountBlocked, NotTaken, Rejected, Uncertain
from worker.generation import GenerationRequest, Operation
from worker.settings.settings import Settings


def ace_error(code: str) -> dict[str, Any]:
    return {"success": False, "error": {"code": code, "message": "Words of the vendor."}, "trace_id": "2efa9340"}


LINK = "https://cdn.acedata.cloud/jgo1cw.jpg"
IMAGE = {"image_id": "1234197197067915365"}
FILM = {"video_id": "1751816807896311"}


def example(
    operation: Operation,
    prompt: str = "",
    options: Mapping[str, Any] | None = None,
    action: str | None = None,
    parent: Mapping[str, str] | None = None,
) -> GenerationRequest:
    return GenerationRequest(
        operation=operation, prompt=prompt, options=options or {}, action=action, parent=parent or {}
    )


DIALECT = Dialect(
    settings=lambda url: Settings(acedatacloud_api_token=API_TOKEN, acedatacloud_base_url=url),
    keyless=Settings(acedatacloud_api_token=None),
    key_name="ACEDATACLOUD_API_TOKEN",
    callback_field="callback_url",
    taken={"task_id": "b8b7fdc2"},
    task_id="b8b7fdc2",
    refusals=(
        (400, "error_400_bad_request.json", Rejected, "bad_request"),
        (400, "error_400_api_not_implemented.json", Rejected, "api_not_implemented"),
        (400, "error_400_token_mismatched.json", AccountBlocked, "token_mismatched"),
        (400, ace_error("no_token"), AccountBlocked, "no_token"),
        (401, "error_401_invalid_token.json", AccountBlocked, "invalid_token"),
        (401, ace_error("token_expired"), AccountBlocked, "token_expired"),
        (401, ace_error("token_mismatched"), AccountBlocked, "token_mismatched"),
        (403, "error_403_forbidden.json", Rejected, "forbidden"),
        (403, ace_error("used_up"), AccountBlocked, "used_up"),
        (403, ace_error("disabled"), AccountBlocked, "disabled"),
        (404, ace_error("no_api"), Rejected, "no_api"),
        (429, "error_429_too_many_requests.json", NotTaken, "too_many_requests"),
        (500, "error_500_api_error.json", Uncertain, "api_error"),
        (504, "error_504_timeout.json", Uncertain, "timeout"),
        (401, ace_error("unauthorized"), AccountBlocked, "unauthorized"),
        (402, ace_error("insufficient_balance"), AccountBlocked, "insufficient_balance"),
        (429, ace_error("rate_limited"), NotTaken, "rate_limited"),
        (400, ace_error("content_moderation"), Rejected, "content_moderation"),
        (502, ace_error("upstream_error"), Uncertain, "upstream_error"),
        (504, ace_error("upstream_timeout"), Uncertain, "upstream_timeout"),
        (200, ace_error("bad_request"), Rejected, "bad_request"),
        (200, ace_error("forbidden"), Rejected, "forbidden"),
        (200, ace_error("used_up"), AccountBlocked, "used_up"),
        (200, ace_error("too_many_requests"), NotTaken, "too_many_requests"),
        (200, ace_error("api_error"), Uncertain, "api_error"),
        (200, ace_error("timeout"), Uncertain, "timeout"),
        (200, {"success": False, "error": "fetch failed"}, Uncertain, "http_200"),
        (200, {"success": False, "error": None}, Uncertain, "http_200"),
        (200, {"success": True}, Uncertain, "no_task_id"),
        (200, {"task_id": ""}, Uncertain, "no_task_id"),
        (200, {"task_id": None}, Uncertain, "no_task_id"),
        (200, {"task_id": ["b8b7fdc2"]}, Uncertain, "no_task_id"),
    ),
    callbacks=("callback_*.json", "*_sync_success.json", "blend_success.json"),
    unreadable=frozenset({"callback_success_concepts.json"}),
    replies={
        "tasks_retrieve_success.json": ("7489df4c-ef03-4de0-b598-e9a590793434",),
        "tasks_retrieve_batch_success.json": (
            "7489df4c-ef03-4de0-b598-e9a590793434",
            "807f62de-c63e-4add-8345-7f0ae6dd18e7",
        ),
        "tasks_pending_minimal.json": ("pending-task",),
        "tasks_failed_minimal.json": ("failed-task",),
        "tasks_retrieve_unknown_id.json": ("never-heard-of",),
    },
    quoting=lambda words: {"error": {"code": "bad_request", "message": words}},
    words=(
        *("success", "error", "progress", "actions", "task_id"),
        *("image_url", "raw_image_url", "sub_image_urls", "video_urls", "image_id", "video_id"),
        *("items", "id", "type", "response", "finished_at", "request", "descriptions", "content", "prompts", "seed"),
    ),
    examples={
        one.operation: one
        for one in (
            example(Operation.IMAGINE, "a cat"),
            example(Operation.BLEND, "", {"images": [LINK, LINK]}),
            example(Operation.UPSCALE, "", {}, "upscale1", IMAGE),
            example(Operation.VARIATION, "", {}, "variation1", IMAGE),
            example(Operation.REROLL, "", {}, "reroll", IMAGE),
            example(Operation.PAN, "", {}, "pan_left", IMAGE),
            example(Operation.ZOOM, "", {}, "zoom_out_2x", IMAGE),
            example(Operation.REGION, "", {"mask": LINK}, "variation_region", IMAGE),
            example(Operation.EDIT, "a cat", {"images": [LINK]}),
            example(Operation.VIDEO, "a cat", {"images": [LINK]}),
            example(Operation.VIDEO_EXTEND, "a cat", {}, "extend1", FILM),
            example(Operation.DESCRIBE, "", {"images": [LINK]}),
            example(Operation.TRANSLATE, "天使"),
            example(Operation.SHORTEN, "a cat on a table"),
            example(Operation.SEED, "", {}, "seed", IMAGE),
        )
    },
    answers={
        Operation.DESCRIBE: {"descriptions": ["a cat", "a table"]},
        Operation.TRANSLATE: {"content": "angel"},
        Operation.SHORTEN: {"prompts": ["cat", "table"]},
        Operation.SEED: {"seed": "1515630083539206144"},
    },
)
