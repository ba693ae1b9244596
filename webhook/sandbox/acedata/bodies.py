"""The bodies that Ace Data Cloud sends: results, callbacks, records."""

from typing import Any

from webhook.sandbox.acedata.actions import offered_actions
from webhook.sandbox.acedata.task import AceTask
from webhook.sandbox.engine import Engine


def result(engine: Engine, task: AceTask) -> dict[str, Any]:
    """Return what the synchronous reply, the callback and the record's `response` have in common."""
    if task.failure:
        error = {"code": task.failure.code, "message": task.failure.message}
        return {"success": False, "task_id": task.id, "error": error}
    done = {"task_id": task.id, "success": True}
    if task.text is not None:
        return {**task.text, **done}
    if task.type == "videos":
        return {**_videos(engine, task), **done}
    side = engine.side(task)
    raw, *parts = engine.give_links(task)
    if task.type == "edits":
        same = {"image_url": raw, "image_width": side, "image_height": side}
        body = {**_image(raw, side, task.image_id, side), **same, "progress": 100, **done}
    else:
        actions = list(offered_actions(task.action))
        body = {**_image(raw, side // 2, task.image_id, side), "progress": 100, "actions": actions, **done}
    return {**body, "sub_image_urls": parts} if parts else body


def preview(engine: Engine, task: AceTask, progress: int) -> dict[str, Any]:
    """`success` is true on progress as well: only progress 100 and `actions` mean that it is done."""
    done = {"progress": progress, "actions": [], "task_id": task.id, "success": True}
    link = engine.preview_link(task, progress)
    if link is None:
        return done
    side = max(2, engine.side(task) // 4)
    return {**_image(link, side // 2, task.preview_ids[progress], side), **done}


def _videos(engine: Engine, task: AceTask) -> dict[str, Any]:
    *videos, cover = engine.give_links(task)
    side = round(engine.side(task) * task.files[-1].share)
    return {
        "image_url": cover,
        "image_width": side,
        "image_height": side,
        "progress": 100,
        "video_id": task.video_id,
        # The two slashes are documented.
        "video_urls": [link.replace("/video/", "//video/", 1) for link in videos],
    }


def _image(raw_url: str, width: int, image_id: str, raw_width: int) -> dict[str, Any]:
    return {
        "image_url": f"{raw_url}width={width}&height={width}",
        "image_width": width,
        "image_height": width,
        "image_id": image_id,
        "raw_image_url": raw_url,
        "raw_image_width": raw_width,
        "raw_image_height": raw_width,
    }
