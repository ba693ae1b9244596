"""The bodies that Kie sends: callbacks with their signature, and records."""

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime
from typing import Any

from webhook.sandbox.kie.task import KieTask


def links(task: KieTask) -> list[str]:
    """The links never change, so dead ones stay dead: only `download-url` returns others."""
    return [task.base_url + file.path for file in task.files]


def callback(task: KieTask) -> dict[str, Any]:
    """`resultUrls` are plain strings here."""
    code, message = (int(task.failure.code), task.failure.message) if task.failure else (200, "success")
    asked = {"prompt": task.prompt, "model": "midjourney"}
    data = {"taskId": task.id, "promptJson": json.dumps(asked), "resultUrls": [] if task.failure else links(task)}
    return {"code": code, "msg": message, "data": data}


def signature(key: str, task_id: str, timestamp: int) -> str:
    """Over the task id and the time in unix seconds, but not over the body."""
    signed = hmac.new(key.encode(), f"{task_id}.{timestamp}".encode(), hashlib.sha256)
    return base64.b64encode(signed.digest()).decode()


def record(task: KieTask) -> dict[str, Any]:
    """`resultUrls` are objects here."""
    asked = {"fileUrl": "", "waterMark": "", **task.request}
    done = task.finished_at is not None
    urls = [{"resultUrl": link} for link in links(task)] if done and not task.failure else None
    data = {
        "taskId": task.id,
        "taskType": task.action,
        "paramJson": json.dumps(asked, sort_keys=True),
        "completeTime": _time(task.finished_at),
        "resultInfoJson": {"resultUrls": urls} if urls else None,
        "successFlag": _success_flag(task),
        "createTime": _time(task.created_at),
        "errorCode": int(task.failure.code) if task.failure else None,
        "errorMessage": task.failure.message if task.failure else None,
    }
    return {"code": 200, "msg": "success", "data": data}


def in_strings(record: dict[str, Any]) -> dict[str, Any]:
    """The form that clients handle although no page shows it: numbers and the result as strings."""
    data = record["data"]
    result = data["resultInfoJson"] and json.dumps(data["resultInfoJson"])
    as_strings = {**data, "successFlag": str(data["successFlag"]), "resultInfoJson": result}
    return {**record, "code": str(record["code"]), "data": as_strings}


def _success_flag(task: KieTask) -> int:
    if task.finished_at is None:
        return 0
    if not task.failure:
        return 1
    # 3 is "created, but the generation failed".
    return 3 if task.failure.code == "500" else 2


def _time(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
