"""A task of OhMyGPT, and its JSON."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from webhook.sandbox.discord import DiscordTask, percent, status
from webhook.sandbox.engine import Engine


@dataclass(slots=True, eq=False, kw_only=True)
class OmgTask(DiscordTask):
    """`pool` is NORMAL or FAST; the second file, if any, is in the vendor's object storage."""

    pool: str
    description: str
    enveloped: bool


def envelope(data: Any) -> dict[str, Any]:
    return {"statusCode": 200, "message": "Success", "data": data}


def task_body(engine: Engine, task: OmgTask, progress: int) -> dict[str, Any]:
    """Return the task as in query, list and webhook; times are ISO 8601 in UTC."""
    done = progress == 100
    succeeded = done and not task.failure
    links = engine.give_links(task) if succeeded else [engine.preview_link(task, progress)]
    return {
        "taskId": int(task.id),
        "taskType": task.pool,
        "status": status(task, progress),
        "action": task.action,
        "progress": percent(task, progress),
        "description": task.description,
        "prompt": task.text if succeeded and task.text else task.prompt,
        "failReason": task.failure.message if done and task.failure else None,
        "submitTime": _iso(task.created_at),
        "startTime": _iso(task.created_at),
        "finishTime": _iso(task.finished_at) if done else None,
        "webhookUrl": task.callback_url,
        "imageDcUrl": links[0],
        "imageS3Url": links[1] if len(links) > 1 else None,
        "actions": [button.body() for button in task.drawing.buttons] if succeeded else [],
    }


def _iso(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
