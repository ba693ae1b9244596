"""What Ace Data Cloud writes: results, callbacks, task records."""

import re
import uuid
from collections.abc import Mapping
from typing import Any

from webhook.sandbox.acedata.actions import offered_actions
from webhook.sandbox.acedata.checks import bad_request
from webhook.sandbox.pictures import is_grid
from webhook.sandbox.studio import Studio
from webhook.sandbox.task import Task

DEFAULT_LIMIT = 12


class AceData:
    """The dialect; one per sandbox, because the account has made-up ids."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self._account = {name: str(uuid.uuid4()) for name in ("application_id", "credential_id", "user_id", "api_id")}
        self._channel = studio.snowflake()

    def callback_body(self, task: Task, progress: int) -> dict[str, Any]:
        """`success` is true on progress as well: only 100 and actions say that it is done."""
        return self.result(task) if progress == 100 else self._progress(task, progress)

    def result(self, task: Task) -> dict[str, Any]:
        """What the synchronous answer, the callback and the record's `response` have in common."""
        if task.failure:
            error = {"code": task.failure.code, "message": task.failure.message}
            return {"success": False, "task_id": task.id, "error": error}
        first = self._studio.give_links(task)
        side = self._studio.side(task)
        words = re.sub(r"[^A-Za-z0-9]+", "_", task.picture.prompt)[:60].strip("_")
        raw = self._link(task, task.image_id, f"sandbox_{words}_{task.job_id}.png", first=first)
        body: dict[str, Any] = {
            **_image(raw, side // 2, task.image_id, side),
            "progress": 100,
            "actions": list(offered_actions(task)),
            "task_id": task.id,
            "success": True,
        }
        if task.request.get("split_images") and is_grid(task.action):
            body["sub_image_urls"] = [
                self._link(task, task.image_id, f"{task.job_id}_0_{number}.png", first=first) for number in range(4)
            ]
        return body

    def _progress(self, task: Task, progress: int) -> dict[str, Any]:
        image_id = task.progress_ids[progress]
        side = max(2, self._studio.side(task) // 4)
        raw = self._link(task, image_id, f"{task.job_id}_grid_0.webp", first=False)
        return {
            **_image(raw, side // 2, image_id, side),
            "progress": progress,
            "actions": [],
            "task_id": task.id,
            "success": True,
        }

    def record(self, task: Task) -> dict[str, Any]:
        """A record has no status: it is finished when it has `response` and `finished_at`."""
        echo = {"mode": "fast", **task.request, "callback_url": task.callback_url, "trace_id": task.trace_id}
        record: dict[str, Any] = {
            "_id": task.job_id.replace("-", "")[:24],
            "id": task.id,
            **self._account,
            "type": "imagine",
            "trace_id": task.trace_id,
            "request": echo,
            "hold": False,
            "created_at": round(task.created_at, 3),
            "started_at": round(task.created_at, 3),
        }
        if task.finished_at is not None:
            elapsed = task.finished_at - task.created_at
            record |= {
                "image_id": task.image_id,
                "job_id": task.job_id,
                "response": self.result(task),
                "finished_at": round(task.finished_at, 3),
                "elapsed": elapsed,
                "duration": elapsed,
            }
        return record

    def query(self, body: Any) -> dict[str, Any]:
        """`/midjourney/tasks`; an unknown id is no error but `{}`. Raises Refusal."""
        if not isinstance(body, Mapping):
            raise bad_request("The json payload is not valid to request the API")
        match body.get("action", "retrieve"):
            case "retrieve":
                found = self._find([body.get("id")], [body.get("trace_id")])
                return self.record(found[0]) if found else {}
            case "retrieve_batch":
                tasks = self._batch(body)
                return {"items": [self.record(task) for task in tasks], "count": len(tasks)}
            case other:
                raise bad_request(f"action must be retrieve or retrieve_batch, not {other!r}")

    def _batch(self, body: Mapping[str, Any]) -> list[Task]:
        ids, traces = body.get("ids"), body.get("trace_ids")
        for name, value in (("ids", ids), ("trace_ids", traces)):
            if value is not None and not isinstance(value, list):
                raise bad_request(f"{name} must be a list")
        if ids or traces:
            return self._find(ids or [], traces or [])
        offset, limit = body.get("offset", 0), body.get("limit", DEFAULT_LIMIT)
        for name, number in (("offset", offset), ("limit", limit)):
            if isinstance(number, bool) or not isinstance(number, int) or number < 0:
                raise bad_request(f"{name} must be a number, 0 or more")
        return self._studio.recent(offset, limit)

    def _find(self, ids: list[Any], traces: list[Any]) -> list[Task]:
        found = [self._studio.find(str(one)) for one in ids] + [self._studio.find_by_trace(str(one)) for one in traces]
        return [task for task in found if task is not None]

    def _link(self, task: Task, message_id: str, name: str, *, first: bool) -> str:
        return self._studio.link(task, f"/attachments/{self._channel}/{message_id}/{name}", first=first)


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
