"""Kie.ai."""

from typing import Any

from tests.worker.providers.dialects.dialect import API_TOKEN, Dialect
from worker.errors import AccountBlocked, NotTaken, Rejected, Uncertain
from worker.generation import GenerationRequest, Operation
from worker.settings.settings import Settings


def refusal(code: Any) -> dict[str, Any]:
    return {"code": code, "msg": "Words of the vendor.", "data": None}


LINK = "https://studio.test/cat.png"
PARENT = {"task_id": "2584469c38e43c173dcae9e60663f645"}
CODES = {
    **dict.fromkeys((400, 404, 422, 501, 505), Rejected),
    **dict.fromkeys((401, 402, 403), AccountBlocked),
    **dict.fromkeys((429, 455), NotTaken),
    **dict.fromkeys((408, 433, 500, 599), Uncertain),
}

DIALECT = Dialect(
    settings=lambda url: Settings(kie_api_key=API_TOKEN, kie_base_url=url),
    keyless=Settings(kie_api_key=None),
    key_name="KIE_API_KEY",
    callback_field="callBackUrl",
    taken={"code": 200, "msg": "success", "data": {"taskId": "mj_task_abcdef123456"}},
    task_id="mj_task_abcdef123456",
    refusals=(
        *((200, refusal(code), error, str(code)) for code, error in CODES.items()),
        # The code counts, whatever the HTTP status is, and whatever type it has.
        *((status, refusal(code), CODES[code], str(code)) for status in (400, 500) for code in CODES if code != 599),
        (200, refusal("402"), AccountBlocked, "402"),
        (429, refusal(429), NotTaken, "429"),
        (200, refusal(None), Uncertain, "http_200"),
        (200, refusal({}), Uncertain, "http_200"),
        (200, {"code": 200, "msg": "success"}, Uncertain, "no_task_id"),
        (200, {"code": 200, "msg": "success", "data": None}, Uncertain, "no_task_id"),
        (200, {"code": 200, "msg": "success", "data": {"taskId": ""}}, Uncertain, "no_task_id"),
        (200, {"code": 200, "msg": "success", "data": ["mj_task_abcdef123456"]}, Uncertain, "no_task_id"),
    ),
    callbacks=("callback_*.json", "market_callback_success.json"),
    unreadable=frozenset({"market_callback_success.json"}),
    replies={
        f"record_info_{state}.json": ("4edb3c5XXXXX75e3f0aa5cc",) for state in ("generating", "success", "failed")
    },
    quoting=lambda words: {"code": 400, "msg": words, "data": None},
    words=(
        *("code", "msg", "data", "taskId", "task_id", "resultUrls", "resultUrl", "promptJson", "state", "resultJson"),
        *("successFlag", "resultInfoJson", "errorCode", "errorMessage", "completeTime"),
    ),
    task_id_of=lambda body: body["data"]["taskId"],
    lists=False,
    examples={
        one.operation: one
        for one in (
            GenerationRequest(operation=Operation.IMAGINE, prompt="a cat"),
            GenerationRequest(operation=Operation.UPSCALE, prompt="", options={}, action="upscale1", parent=PARENT),
            GenerationRequest(operation=Operation.VARIATION, prompt="", options={}, action="variation1", parent=PARENT),
            GenerationRequest(operation=Operation.VIDEO, prompt="a cat", options={"images": [LINK]}),
            GenerationRequest(operation=Operation.VIDEO_EXTEND, prompt="", options={}, action="extend1", parent=PARENT),
        )
    },
    values={
        "omni_weight": {"omni_image": LINK, "omni_weight": 5},
        # The smaller one is what comes without the option.
        "video_size": "720p",
    },
)
