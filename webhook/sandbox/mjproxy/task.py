"""A task of midjourney-proxy, in the JSON of each variant."""

import time
from dataclasses import dataclass
from typing import Any

from webhook.sandbox.discord import STAGES, Button, DiscordTask, percent, status
from webhook.sandbox.engine import Engine
from webhook.sandbox.mjproxy.variants import Variant

TIMED_OUT = "任务超时"


@dataclass(slots=True, eq=False, kw_only=True)
class MjTask(DiscordTask):
    """`late`: it times out before it succeeds. `window`: it waits for its window to be confirmed."""

    variant: Variant
    account: str
    nonce: str
    description: str
    state: str | None
    hook: str | None
    late: bool = False
    parent: "MjTask | None" = None
    button: Button | None = None
    window: bool = False


def task_body(engine: Engine, task: MjTask, progress: int) -> dict[str, Any]:
    """The task as `fetch` and `notifyHook` have it; times are in milliseconds."""
    timed_out = task.late and progress == STAGES[-1]
    ended = progress == 100
    succeeded = ended and not task.failure
    # The Java program does not clear the reason when the image arrives after all.
    reason = (
        task.failure.message if ended and task.failure else TIMED_OUT if task.late and (timed_out or ended) else None
    )
    link = engine.give_links(task)[0] if succeeded else engine.preview_link(task, progress)
    text = task.text if succeeded and task.text else task.prompt
    facts = {
        "id": task.id,
        "action": task.action,
        "status": "MODAL" if task.window else "FAILURE" if timed_out else status(task, progress),
        "prompt": text,
        "promptEn": text,
        "description": task.description,
        "state": task.state,
        "submitTime": _ms(task.created_at),
        "startTime": None if task.window else _ms(task.created_at),
        "finishTime": _ms(task.finished_at) if ended else _ms(time.time()) if timed_out else None,
        "imageUrl": link,
        "progress": "" if timed_out else percent(task, progress),
        "failReason": reason,
    }
    buttons = [button.body() | {"style": 2, "type": 2} for button in task.drawing.buttons] if succeeded else []
    if task.variant is Variant.RELAY:
        return _of_relay(facts, buttons, text)
    properties = {"notifyHook": task.hook, "finalPrompt": text, "discordInstanceId": task.account, "nonce": task.nonce}
    if succeeded:
        message_id = task.drawing.file.path.split("/")[3]
        properties |= {"messageId": message_id, "messageHash": task.drawing.job_id, "flags": 0}
    whole = {"id": facts.pop("id"), "properties": properties, **facts}
    if task.variant is Variant.JAVA:
        return whole
    parent_id = task.parent.id if task.parent else None
    return whole | {"parentId": parent_id, "botType": "MID_JOURNEY", "buttons": buttons}


def _of_relay(facts: dict[str, Any], buttons: list[dict[str, Any]], text: str) -> dict[str, Any]:
    """Fields are blank or 0 instead of null, and the status is missing until the relay first asks upstream."""
    blank = {name: 0 if name.endswith("Time") else "" for name, value in facts.items() if value is None}
    return {
        **facts,
        **blank,
        "status": "" if facts["status"] == "SUBMITTED" else facts["status"],
        "customId": "",
        "botType": "",
        "videoUrl": "",
        "videoUrls": None,
        "buttons": buttons or None,
        "maskBase64": "",
        "properties": {"finalPrompt": text, "finalZhPrompt": ""},
    }


def _ms(seconds: float | None) -> int | None:
    return None if seconds is None else int(seconds * 1000)
