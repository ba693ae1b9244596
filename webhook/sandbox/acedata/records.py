"""`/midjourney/tasks`: records of generations, by id, by trace or as a list."""

import uuid
from collections.abc import Mapping
from typing import Any

from webhook.sandbox.acedata.bodies import result
from webhook.sandbox.acedata.checks import bad_request
from webhook.sandbox.acedata.task import AceTask
from webhook.sandbox.engine import Engine

DEFAULT_LIMIT = 12


class Records:
    """One per sandbox, because the account's ids are made up."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._account = {name: str(uuid.uuid4()) for name in ("application_id", "credential_id", "user_id", "api_id")}

    def query(self, body: Any) -> dict[str, Any]:
        """Return `{}` for an unknown id, which is no error. Raises Refusal."""
        if not isinstance(body, Mapping):
            raise bad_request("The json payload is not valid to request the API")
        match body.get("action", "retrieve"):
            case "retrieve":
                found = self._find([body.get("id"), body.get("trace_id")])
                return self._record(found[0]) if found else {}
            case "retrieve_batch":
                tasks = self._batch(body)
                return {"items": [self._record(task) for task in tasks], "count": len(tasks)}
            case other:
                raise bad_request(f"action must be retrieve or retrieve_batch, not {other!r}")

    def _record(self, task: AceTask) -> dict[str, Any]:
        """A record has no status: it is finished once it has `response` and `finished_at`."""
        echo = {"mode": "fast", **task.request, "callback_url": task.callback_url, "trace_id": task.trace_id}
        record: dict[str, Any] = {
            "_id": task.job_id.replace("-", "")[:24],
            "id": task.id,
            **self._account,
            "type": task.type,
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
                "response": result(self._engine, task),
                "finished_at": round(task.finished_at, 3),
                "elapsed": elapsed,
                "duration": elapsed,
            }
        return record

    def _batch(self, body: Mapping[str, Any]) -> list[AceTask]:
        ids, traces = body.get("ids"), body.get("trace_ids")
        for name, value in (("ids", ids), ("trace_ids", traces)):
            if value is not None and not isinstance(value, list):
                raise bad_request(f"{name} must be a list")
        if ids or traces:
            return self._find([*(ids or []), *(traces or [])])
        offset, limit = body.get("offset", 0), body.get("limit", DEFAULT_LIMIT)
        for name, number in (("offset", offset), ("limit", limit)):
            if isinstance(number, bool) or not isinstance(number, int) or number < 0:
                raise bad_request(f"{name} must be a number, 0 or more")
        return self._engine.recent(AceTask, offset, limit)

    def _find(self, names: list[Any]) -> list[AceTask]:
        return [task for name in names if (task := self._engine.find(AceTask, str(name)))]
