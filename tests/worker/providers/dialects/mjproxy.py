"""midjourney-proxy and its relays."""

from typing import Any

from tests.worker.providers.dialects.dialect import API_TOKEN, Dialect
from tests.worker.providers.dialects.ohmygpt import examples
from worker.errors import AccountBlocked, NotTaken, Rejected, Uncertain
from worker.settings.settings import Settings


def refusal(code: Any, description: str = "words of the proxy", **properties: Any) -> dict[str, Any]:
    return {"code": code, "description": description, "result": None, "properties": properties}


DIALECT = Dialect(
    settings=lambda url: Settings(mjproxy_base_url=url, mjproxy_api_secret=API_TOKEN),
    keyless=Settings(mjproxy_base_url=None),
    key_name="MJPROXY_BASE_URL",
    callback_field="notifyHook",
    taken={"code": 1, "description": "成功", "result": "8498455807619990"},
    task_id="8498455807619990",
    refusals=(
        (200, refusal(3), NotTaken, "3"),
        (200, refusal(4), Rejected, "4"),
        (200, refusal("4"), Rejected, "4"),
        (200, refusal(9), Uncertain, "9"),
        (400, refusal(9), Uncertain, "9"),
        (200, "submit_code_23.json", NotTaken, "23"),
        (200, refusal(23), NotTaken, "23"),
        (200, refusal(24, promptEn="nude body", bannedWord="nude"), Rejected, "24"),
        (429, refusal(30), NotTaken, "30"),
        (200, refusal(30), NotTaken, "30"),
        (400, refusal(4, "quota_not_enough "), AccountBlocked, "quota_not_enough"),
        (400, refusal(4, "do_request_failed"), Uncertain, "do_request_failed"),
        (400, refusal(4, "prompt_is_required"), Rejected, "4"),
        (500, refusal(5), Uncertain, "5"),
        (500, refusal(4), Uncertain, "4"),
        (401, refusal(4), AccountBlocked, "4"),
        (403, refusal(4), AccountBlocked, "4"),
        (403, refusal(24), Rejected, "24"),
        (200, refusal(99), Uncertain, "99"),
        (401, {"error": {"message": "no such key", "type": "new_api_error"}}, AccountBlocked, "new_api_error"),
        (200, {"code": 1, "description": "成功"}, Uncertain, "no_task_id"),
        (200, {"code": 22, "result": None}, Uncertain, "no_task_id"),
        (200, {"code": 1, "result": ["1"]}, Uncertain, "no_task_id"),
    ),
    callbacks=("notify_*.json", "describe_*.json"),
    replies={
        "notify_success.json": ("14001929738841620",),
        "notify_submitted_reconstructed.json": ("1689231405853400",),
        "notify_in_progress_reconstructed.json": ("1689231405853400",),
    },
    quoting=lambda words: refusal(4, words),
    words=(
        *("code", "description", "result", "properties", "id", "task_id", "action", "status", "state", "progress"),
        *("prompt", "promptEn", "finalPrompt", "imageUrl", "image_url", "failReason", "message", "buttons", "customId"),
    ),
    task_id_of=lambda body: body["id"],
    examples=examples("1320098173412546"),
)
