"""The endpoints of OhMyGPT."""

import itertools
import sys
import time
from collections.abc import Mapping
from typing import Any

from flask import Response, jsonify, request

from webhook.sandbox.dialect import Dialect, Facts, Refusal
from webhook.sandbox.discord import DESCRIPTION, FAILURES, STAGES, Drawing, described, draw, reached
from webhook.sandbox.engine import Engine
from webhook.sandbox.example import Example
from webhook.sandbox.faults import without_fault_words
from webhook.sandbox.ohmygpt.checks import bad_request, check_blend, check_page, check_token, read_fields
from webhook.sandbox.ohmygpt.task import OmgTask, envelope, task_body
from webhook.sandbox.pictures import Picture, follow_up
from webhook.sandbox.task import File

#: one task in this many
ENVELOPED, MIRRORED = 4, 2

_FAULTS: Mapping[str, tuple[int, str, int]] = {
    "too_many": (429, "Too many requests", 429),
    "unavailable": (503, "Service unavailable", 503),
    # 400 is the only documented error code, so only the text shows the cause.
    "error_before": (400, "Internal Server Error", 200),
    "error_after": (400, "Internal Server Error", 200),
    "reject": (400, "The prompt may contain sensitive words", 200),
}


class OhMyGpt(Dialect[OmgTask]):
    name = "ohmygpt"
    title = "OhMyGPT"
    instead_of = "https://api.ohmygpt.com"
    prefix = "/api/v1/ai/draw/mj/"
    example = Example(
        path=prefix + "imagine",
        fields={"model": "midjourney", "prompt": "a red fox in tall grass"},
        callback_field="webhook",
        is_form=True,
    )
    stages = STAGES
    failures = FAILURES

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self._channel = engine.snowflake()
        # From the clock, so that a restarted sandbox does not reuse ids.
        self._ids = itertools.count(int(time.time() * 1000))
        self._made = itertools.count(1)
        self.submits(self.prefix + "imagine", self._imagine)
        self.submits(self.prefix + "action", self._action)
        self.submits(self.prefix + "blend", self._blend)
        self.submits(self.prefix + "describe", self._describe)
        self.answers("POST", self.prefix + "query", self._query)
        self.answers("POST", self.prefix + "query-mj-tasks", self._list)

    # --- submissions ---

    def _imagine(self, facts: Facts) -> OmgTask:
        fields = _fields("prompt")
        prompt = fields["prompt"].strip()
        picture = Picture(prompt=without_fault_words(prompt), seed=int(self.engine.snowflake()))
        drawing = draw(self.engine, self._channel, picture)
        return self._task(facts, fields, "IMAGINE", f"/imagine {prompt}", drawing, prompt=prompt, words=prompt)

    def _action(self, facts: Facts) -> OmgTask:
        fields = _fields("taskId", "customId")
        parent = self._find(fields)
        if parent.finished_at is None or parent.failure:
            raise bad_request("The task has not succeeded")
        button = parent.pressed(fields["customId"])
        # A custom zoom opens a window for a new prompt, for which the API has no field.
        if button is None or button.action == "custom_zoom":
            raise bad_request("customId is not one of the task's actions")
        if button.action == "variation_region" and "base64Mask" not in fields:
            raise bad_request("base64Mask is required for this action")
        picture = follow_up(parent.picture, button.action, parent.picture.prompt, int(self.engine.snowflake()))
        drawing = draw(self.engine, self._channel, picture)
        kind = button.action.rstrip("1234").upper()
        action = kind if kind in {"UPSCALE", "VARIATION", "REROLL"} else "ACTION"
        description = f"/action {parent.id} {button.label or button.emoji}"
        return self._task(facts, fields, action, description, drawing, prompt=parent.prompt)

    def _blend(self, facts: Facts) -> OmgTask:
        fields = _fields("base64Array")
        check_blend(fields)
        count = len(fields["base64Array"])
        drawing = draw(
            self.engine, self._channel, Picture(prompt=f"{count} images blended", seed=int(self.engine.snowflake()))
        )
        return self._task(facts, fields, "BLEND", f"/blend {count}", drawing)

    def _describe(self, facts: Facts) -> OmgTask:
        fields = _fields("base64")
        return self._task(facts, fields, "DESCRIBE", "/describe", described(self.engine, self._channel))

    def _task(
        self,
        facts: Facts,
        fields: dict[str, Any],
        action: str,
        description: str,
        drawing: Drawing,
        *,
        prompt: str = "",
        words: str = "",
    ) -> OmgTask:
        hook = fields.get("webhook")
        knobs = self.knobs(facts, words, prompt=prompt, action=action, callback_url=hook)
        made = next(self._made)
        files = [drawing.file]
        if made % MIRRORED == 0:
            files.append(File(path=f"/storage/{drawing.job_id}.png", picture=drawing.file.picture, signed=False))
        return OmgTask(
            dialect=self,
            id=str(next(self._ids)),
            request=fields,
            action=action,
            prompt=prompt,
            picture=drawing.file.picture,
            base_url=request.host_url.rstrip("/"),
            callback_url=hook,
            knobs=knobs,
            files=tuple(files),
            previews=drawing.previews,
            text=DESCRIPTION if action == "DESCRIBE" else None,
            streams=True,
            drawing=drawing,
            pool=fields.get("type", "FAST"),
            description=description,
            enveloped=made % ENVELOPED == 0,
        )

    # --- questions ---

    def _query(self) -> dict[str, Any]:
        task = self._find(_fields("taskId"))
        return envelope(task_body(self.engine, task, reached(task)))

    def _list(self) -> dict[str, Any]:
        """A page of all tasks, newest first."""
        _fields()
        number, size = check_page(request.args.get("page", "1"), request.args.get("pageSize", "12"))
        everything = self.engine.recent(OmgTask, 0, sys.maxsize)
        page = everything[(number - 1) * size : number * size]
        tasks = [task_body(self.engine, task, reached(task)) for task in page]
        return envelope({"total": len(everything), "tasks": tasks})

    def _find(self, fields: Mapping[str, Any]) -> OmgTask:
        task = self.engine.find(OmgTask, str(fields["taskId"]))
        if task is None:
            raise bad_request("The task does not exist")
        return task

    # --- its words ---

    def acknowledge(self, task: OmgTask) -> dict[str, Any]:
        return envelope(int(task.id))

    def without_id(self) -> dict[str, Any]:
        return {"statusCode": 200, "message": "Success"}

    def callback_body(self, task: OmgTask, progress: int) -> dict[str, Any]:
        body = task_body(self.engine, task, progress)
        return envelope(body) if task.enveloped else body

    def fault(self, knob: str) -> Refusal:
        code, message, status = _FAULTS[knob]
        headers = {"Retry-After": "1"} if knob == "too_many" else None
        return Refusal(code, message, status=status, headers=headers)

    def bad_request(self, message: str) -> Refusal:
        return bad_request(message)

    def error(self, refusal: Refusal) -> Response:
        answer = jsonify({"statusCode": refusal.code, "message": refusal.message, "data": None})
        answer.status_code = refusal.status
        answer.headers.update(refusal.headers)
        return answer


def _fields(*required: str) -> dict[str, Any]:
    """Return the token and the fields of this request; raises Refusal."""
    check_token(request.headers.get("Authorization"))
    return read_fields(request, *required)
