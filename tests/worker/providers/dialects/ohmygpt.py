"""OhMyGPT."""

from typing import Any

from tests.worker.providers.dialects.dialect import API_TOKEN, Dialect
from worker.errors import AccountBlocked, NotTaken, Rejected, Uncertain
from worker.generation import GenerationRequest, Operation
from worker.settings.settings import Settings


def refusal(code: Any) -> dict[str, Any]:
    return {"statusCode": code, "message": "Words of the vendor.", "data": None}


FILE = "data:image/png;base64,aGVsbG8="
_SOLO = "0b33153d-f3c4::SOLO"
#: a button for every action
ACTIONS = {
    **{f"upscale{index}": f"MJ::JOB::upsample::{index}::0b33153d-f3c4" for index in range(1, 5)},
    **{f"variation{index}": f"MJ::JOB::variation::{index}::0b33153d-f3c4" for index in range(1, 5)},
    "reroll": f"MJ::JOB::reroll::0::{_SOLO}",
    "upscale_2x": f"MJ::JOB::upsample_v5_2x::1::{_SOLO}",
    "upscale_4x": f"MJ::JOB::upsample_v5_4x::1::{_SOLO}",
    "upscale_subtle": f"MJ::JOB::upsample_v6_2x_subtle::1::{_SOLO}",
    "upscale_creative": f"MJ::JOB::upsample_v6r1_2x_creative::1::{_SOLO}",
    "variation_subtle": f"MJ::JOB::low_variation::1::{_SOLO}",
    "variation_strong": f"MJ::JOB::high_variation::1::{_SOLO}",
    **{f"pan_{side}": f"MJ::JOB::pan_{side}::1::{_SOLO}" for side in ("left", "right", "up", "down")},
    "zoom_out_2x": f"MJ::Outpaint::50::1::{_SOLO}",
    "zoom_out_1_5x": f"MJ::Outpaint::75::1::{_SOLO}",
    "square": f"MJ::Outpaint::100::1::{_SOLO}",
    "zoom_custom": "MJ::CustomZoom::0b33153d-f3c4",
    "variation_region": f"MJ::Inpaint::1::{_SOLO}",
}


def examples(task_id: str) -> dict[Operation, GenerationRequest]:
    """The least that each operation of Discord's bot takes, the follow-ups on a task with every button."""
    parent = {"task_id": task_id, **ACTIONS}
    requests = (
        GenerationRequest(operation=Operation.IMAGINE, prompt="a cat"),
        GenerationRequest(operation=Operation.BLEND, prompt="", options={"images": [FILE, FILE]}),
        GenerationRequest(operation=Operation.UPSCALE, prompt="", options={}, action="upscale1", parent=parent),
        GenerationRequest(operation=Operation.VARIATION, prompt="", options={}, action="variation1", parent=parent),
        GenerationRequest(operation=Operation.REROLL, prompt="", options={}, action="reroll", parent=parent),
        GenerationRequest(operation=Operation.PAN, prompt="", options={}, action="pan_left", parent=parent),
        GenerationRequest(operation=Operation.ZOOM, prompt="", options={}, action="zoom_out_2x", parent=parent),
        GenerationRequest(
            operation=Operation.REGION, prompt="", options={"mask": FILE}, action="variation_region", parent=parent
        ),
        GenerationRequest(operation=Operation.DESCRIBE, prompt="", options={"images": [FILE]}),
    )
    return {one.operation: one for one in requests}


DIALECT = Dialect(
    settings=lambda url: Settings(ohmygpt_api_key=API_TOKEN, ohmygpt_base_url=url),
    keyless=Settings(ohmygpt_api_key=None),
    key_name="OHMYGPT_API_KEY",
    callback_field="webhook",
    taken={"statusCode": 200, "message": "Success", "data": 2},
    task_id="2",
    refusals=(
        (200, refusal(400), Rejected, "400"),
        (400, refusal(400), Rejected, "400"),
        # A 400 only says that something failed, so an HTTP status that tells more counts.
        (500, refusal(400), Uncertain, "400"),
        (429, refusal(400), NotTaken, "400"),
        (401, refusal(400), AccountBlocked, "400"),
        (402, refusal(400), AccountBlocked, "400"),
        (400, refusal(402), AccountBlocked, "402"),
        (400, refusal(400) | {"message": "Internal Server Error"}, Uncertain, "server_error"),
        (200, refusal("400"), Rejected, "400"),
        (200, refusal(400) | {"message": "Internal Server Error"}, Uncertain, "server_error"),
        (200, refusal("400") | {"message": "请求超时"}, Uncertain, "server_error"),
        (200, refusal(400) | {"message": "The task does not exist"}, Rejected, "unknown_task"),
        (200, refusal(400) | {"message": None}, Rejected, "400"),
        (200, refusal(401), AccountBlocked, "401"),
        (200, refusal(402), AccountBlocked, "402"),
        (200, refusal(403), AccountBlocked, "403"),
        (200, refusal(429), NotTaken, "429"),
        (200, refusal(503), NotTaken, "503"),
        (200, refusal(500), Uncertain, "500"),
        (200, refusal(504), Uncertain, "504"),
        (200, {"code": "", "message": ""}, Uncertain, "no_task_id"),
        (200, {"code": "bad", "message": "x"}, Uncertain, "bad"),
        (400, {"code": "", "message": "x"}, Rejected, "http_400"),
        (200, {"statusCode": 200, "message": "Success", "data": None}, Uncertain, "no_task_id"),
        (200, {"statusCode": 200, "message": "Success", "data": {}}, Uncertain, "no_task_id"),
        (200, {"statusCode": 200, "message": "Success", "data": 2.0}, Uncertain, "no_task_id"),
        (200, {"statusCode": 200, "message": "Success"}, Uncertain, "no_task_id"),
    ),
    callbacks=("webhook_*.json", "query_success.json"),
    replies={"query_success.json": ("20",)},
    quoting=lambda words: {"statusCode": 400, "message": words, "data": None},
    words=(
        *("statusCode", "message", "data", "taskId", "taskType", "status", "action", "progress", "failReason"),
        *("prompt", "webhookUrl", "imageDcUrl", "imageS3Url", "actions", "customId", "tasks"),
    ),
    task_id_of=lambda body: str(body.get("data", body)["taskId"]),
    examples=examples("20"),
)
