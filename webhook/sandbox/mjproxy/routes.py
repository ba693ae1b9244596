"""The endpoints of midjourney-proxy."""

from collections.abc import Mapping
from typing import Any

from flask import Response, jsonify, request

from webhook.sandbox.dialect import Dialect, Refusal
from webhook.sandbox.discord import FAILURES, STAGES, reached
from webhook.sandbox.engine import Engine
from webhook.sandbox.example import Example
from webhook.sandbox.mjproxy.checks import (
    BANNED_PROMPT,
    FAILURE,
    IN_QUEUE,
    NOT_FOUND,
    QUEUE_REJECTED,
    SUCCESS,
    bad_request,
    check_secret,
    read_fields,
)
from webhook.sandbox.mjproxy.submissions import Submissions
from webhook.sandbox.mjproxy.task import MjTask, task_body
from webhook.sandbox.mjproxy.variants import Variant

#: tasks that run at once, an account's default; others wait
CONCURRENCY = 3
#: tasks in `list`, and the longest queue in which positions are counted
LISTED = 100

_FAULTS: Mapping[str, tuple[int, str]] = {
    "too_many": (QUEUE_REJECTED, "队列已满，请稍后尝试"),  # noqa: RUF001
    "unavailable": (NOT_FOUND, "无可用的账号实例"),
    "error_before": (FAILURE, "提交失败，系统异常"),  # noqa: RUF001
    "error_after": (FAILURE, "提交失败，系统异常"),  # noqa: RUF001
    "reject": (BANNED_PROMPT, "可能包含敏感词"),
}


class MjProxy(Dialect[MjTask]):
    name = "mjproxy"
    title = "midjourney-proxy"
    instead_of = "a midjourney-proxy or a relay"
    example = Example(
        path="/mj/submit/imagine",
        fields={"prompt": "a red fox in tall grass"},
        callback_field="notifyHook",
        key_header="mj-api-secret: {}",
    )
    prefix = "/mj"
    stages = STAGES
    failures = FAILURES

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self._submissions = Submissions(self)
        self._rejected = 0
        for path, make in self._submissions.endpoints().items():
            self.submits(f"/mj/submit/{path}", make)
            # Relays select the speed by path; queries have no such prefix.
            self.submits(f"/<any('mj-relax', 'mj-fast', 'mj-turbo'):mode>/mj/submit/{path}", make)
        self.answers("GET", "/mj/task/<task_id>/fetch", self._fetch)
        self.answers("GET", "/mj/task/queue", self._queue)
        self.answers("GET", "/mj/task/list", self._list)
        self.answers("POST", "/mj/task/list-by-condition", self._list_by_condition)

    # --- questions ---

    def _fetch(self, task_id: str) -> Any:
        """Reply to an unknown id with an empty body, which is no error: the program returns null."""
        check_secret(request)
        task = self._find(task_id)
        return self._now(task) if task else Response("", 200)

    def _queue(self) -> list[Any]:
        """All tasks that wait or run, oldest first."""
        check_secret(request)
        return [self._now(task) for task in reversed(self._unfinished())]

    def _list(self) -> list[Any]:
        """Newest first."""
        check_secret(request)
        return [self._now(task) for task in self.engine.recent(MjTask, 0, LISTED)]

    def _list_by_condition(self) -> list[Any]:
        check_secret(request)
        ids = read_fields(request).get("ids", [])
        if not isinstance(ids, list):
            raise bad_request("ids参数错误")
        found = [self._find(str(one)) for one in ids]
        return [self._now(task) for task in found if task]

    def _find(self, task_id: str) -> MjTask | None:
        return self.engine.find(MjTask, task_id) or self._submissions.window(task_id)

    def _now(self, task: MjTask) -> dict[str, Any]:
        return task_body(self.engine, task, reached(task))

    def _unfinished(self) -> list[MjTask]:
        return [task for task in self.engine.recent(MjTask, 0, LISTED) if task.finished_at is None]

    # --- its words ---

    def acknowledge(self, task: MjTask) -> dict[str, Any]:
        if task.variant is Variant.RELAY:
            return {"code": SUCCESS, "description": "Submit success", "result": task.id}
        properties: dict[str, Any] = {"discordInstanceId": task.account}
        before = [other for other in self._unfinished() if other is not task]
        if (waiting := len(before) - CONCURRENCY) <= 0:
            return {"code": SUCCESS, "description": "提交成功", "result": task.id, "properties": properties}
        properties = {"numberOfQueues": waiting, **properties}
        description = f"排队中，前面还有{waiting}个任务"  # noqa: RUF001
        return {"code": IN_QUEUE, "description": description, "result": task.id, "properties": properties}

    def without_id(self) -> dict[str, Any]:
        return {"code": SUCCESS, "description": "提交成功", "properties": {}}

    def callback_body(self, task: MjTask, progress: int) -> dict[str, Any]:
        return task_body(self.engine, task, progress)

    def fault(self, knob: str) -> Refusal:
        code, description = _FAULTS[knob]
        more: dict[str, Any] = {}
        if knob == "too_many":
            # The documents show the rejected task's id, the source code returns none.
            self._rejected += 1
            result = self._submissions.new_id() if self._rejected % 2 else None
            more = {"result": result, "properties": {"discordInstanceId": self._submissions.account}}
        elif knob == "reject":
            more = {"properties": {"promptEn": "nude body", "bannedWord": "nude"}}
        elif knob == "unavailable" and not request.path.endswith(("imagine", "blend", "describe")):
            # Code 3 would mean here that the parent is gone; a proxy in front of the program replies when it is down.
            return Refusal(FAILURE, "Service Unavailable", status=503)
        return Refusal(code, description, more=more)

    def bad_request(self, message: str) -> Refusal:
        return bad_request(message)

    def error(self, refusal: Refusal) -> Response:
        body: dict[str, Any] = {"code": refusal.code, "description": refusal.message, "result": None, "properties": {}}
        answer = jsonify(body | dict(refusal.more))
        answer.status_code = refusal.status
        return answer
