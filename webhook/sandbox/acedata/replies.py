"""Ace Data Cloud's replies."""

import uuid
from collections.abc import Mapping
from typing import Any

from flask import Response, g, jsonify
from werkzeug.exceptions import HTTPException

from webhook.sandbox.acedata.bodies import preview, result
from webhook.sandbox.acedata.checks import bad_request, refusal
from webhook.sandbox.acedata.task import AceTask
from webhook.sandbox.dialect import Dialect, Refusal
from webhook.sandbox.engine import Engine
from webhook.sandbox.example import Example
from webhook.sandbox.task import Failure

#: seconds that a synchronous reply may take unless the request sets a limit
DEFAULT_TIMEOUT = 480

_FAULTS: Mapping[str, tuple[int, str, str]] = {
    "too_many": (429, "too_many_requests", "You have exceeded the rate limit."),
    "unavailable": (503, "api_error", "Service unavailable."),
    "error_before": (500, "api_error", "Internal server error."),
    "error_after": (500, "api_error", "Internal server error."),
    "reject": (403, "forbidden", "Sorry! Our AI moderators feel your prompt might be against our community standards."),
}


class AceWords(Dialect[AceTask]):
    name = "acedata"
    title = "Ace Data Cloud"
    instead_of = "https://api.acedata.cloud"
    example = Example(
        path="/midjourney/imagine", fields={"prompt": "a red fox in tall grass"}, callback_field="callback_url"
    )
    prefix = "/midjourney/"
    stages = (35, 75)
    #: both are documented; the vendor detects a bad argument in the prompt only after accepting the submission
    failures = (
        Failure("bad_request", "Unrecognized argument(s): `-c`, `x`"),
        Failure("api_error", "fetch failed"),
    )

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self._acknowledged = 0

    def acknowledge(self, task: AceTask) -> dict[str, Any]:
        if task.callback_url or task.request.get("async"):
            # Both forms are documented.
            self._acknowledged += 1
            success = {"success": True} if self._acknowledged % 2 == 0 else {}
            return {**success, "task_id": task.id}
        if not self.engine.wait(task, task.request.get("timeout", DEFAULT_TIMEOUT)) or task.finished_at is None:
            raise refusal(504, "timeout", "Timeout to generate the image.")
        if task.failure:
            raise refusal(400 if task.failure.code == "bad_request" else 500, task.failure.code, task.failure.message)
        return result(self.engine, task) if task.text is None else task.text

    def without_id(self) -> dict[str, Any]:
        return {"success": True}

    def callback_body(self, task: AceTask, progress: int) -> dict[str, Any]:
        return result(self.engine, task) if progress == 100 else preview(self.engine, task, progress)

    def fault(self, knob: str) -> Refusal:
        said = refusal(*_FAULTS[knob])
        said.headers = {"Retry-After": "1"} if knob == "too_many" else {}
        return said

    def bad_request(self, message: str) -> Refusal:
        return bad_request(message)

    def error(self, refusal: Refusal) -> Response:
        body = {"error": {"code": refusal.code, "message": refusal.message}, "trace_id": trace_id()}
        answer = jsonify(body)
        answer.status_code = refusal.status
        answer.headers.update(refusal.headers)
        return answer

    def http_error(self, error: HTTPException) -> Refusal:
        status = error.code or 500
        code = "no_api" if status == 404 else "api_error" if status >= 500 else "bad_request"
        return refusal(status, code, str(error.description))


def trace_id() -> str:
    """A new id for each request; it appears on errors and in records."""
    return str(g.setdefault("trace_id", str(uuid.uuid4())))
