"""The two endpoints of Ace Data Cloud that Midjourney generations need."""

import time
import uuid
from collections.abc import Mapping
from typing import Any

from flask import Blueprint, Response, jsonify, request

from webhook.sandbox.acedata.bodies import AceData
from webhook.sandbox.acedata.checks import (
    Refusal,
    bad_request,
    check_action,
    check_imagine,
    check_token,
    fault_answer,
)
from webhook.sandbox.faults import ANSWERS, COURSE, FaultsInvalid, fault_words, without_fault_words
from webhook.sandbox.pictures import Picture, follow_up
from webhook.sandbox.server import Hangup
from webhook.sandbox.studio import HANG, Studio
from webhook.sandbox.task import Task

#: seconds, when the request does not say how long a synchronous answer may take
DEFAULT_TIMEOUT = 480


class Routes:
    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self._dialect = AceData(studio)
        self._acknowledged = 0

    def blueprint(self) -> Blueprint:
        blueprint = Blueprint("acedata", __name__)
        blueprint.post("/midjourney/imagine")(self.imagine)
        blueprint.post("/midjourney/tasks")(self.tasks)
        return blueprint

    def imagine(self) -> Response:
        received_at, trace_id = time.time(), str(uuid.uuid4())
        facts: dict[str, Any] = {"received_at": received_at, "trace_id": trace_id}
        try:
            task = self._take(trace_id, facts)
            answer = self._answer(task, facts)
        except Refusal as refusal:
            answer = _error(refusal, trace_id)
        self._studio.journal.note("submit", **{"status": answer.status_code, **facts})
        return answer

    def tasks(self) -> Response:
        trace_id = str(uuid.uuid4())
        try:
            check_token(request.headers.get("Authorization"))
            answer = jsonify(self._dialect.query(request.get_json(force=True, silent=True)))
        except Refusal as refusal:
            answer = _error(refusal, trace_id)
        self._studio.journal.note("query", status=answer.status_code)
        return answer

    def _take(self, trace_id: str, facts: dict[str, Any]) -> Task:
        """Refuse the submission or accept it. Raises Refusal."""
        check_token(request.headers.get("Authorization"))
        fields = check_imagine(request.get_json(force=True, silent=True))
        prompt, action = fields.get("prompt", ""), fields["action"]
        facts |= {"prompt": prompt, "action": action, "callback_url": fields.get("callback_url")}
        try:
            words = fault_words(prompt)
        except FaultsInvalid as error:
            raise bad_request(f"prompt: {error}") from error
        if knob := self._studio.faults.refusal(prompt, words):
            facts["fault"] = knob
            raise fault_answer(knob)
        task = self._task(fields, words, trace_id)
        facts["task_id"] = task.id
        self._studio.accept(task)
        return task

    def _task(self, fields: Mapping[str, Any], words: frozenset[str], trace_id: str) -> Task:
        studio, action, image_id = self._studio, fields["action"], self._studio.snowflake()
        prompt = fields.get("prompt", "")
        seed = int(image_id)
        if action == "generate":
            picture = Picture(without_fault_words(prompt), seed)
        else:
            parent = check_action(studio.find_by_image(fields["image_id"]), fields)
            shown = without_fault_words(prompt) or parent.picture.prompt
            picture = follow_up(parent.picture, action, shown, seed)
        return Task(
            dialect=self._dialect,
            request=fields,
            action=action,
            prompt=prompt or picture.prompt,
            picture=picture,
            trace_id=trace_id,
            image_id=image_id,
            base_url=request.host_url.rstrip("/"),
            callback_url=fields.get("callback_url") or None,
            streams="application/x-ndjson" in request.headers.get("Accept", ""),
            knobs=words | studio.faults.draw((*ANSWERS, *COURSE)),
        )

    def _answer(self, task: Task, facts: dict[str, Any]) -> Response:
        """How the submission is answered, now that it is accepted. Raises Refusal."""
        fault = next((knob for knob in ANSWERS if knob in task.knobs), None)
        facts["fault"] = fault
        match fault:
            case "error_after":
                raise fault_answer(fault)
            case "hang" | "reset":
                facts["status"] = None
                return Response(map(self._hang_up, [HANG if fault == "hang" else 0]))
            case "garbled":
                return Response('{"task_id": "', mimetype="application/json")
            case "no_task_id":
                return jsonify({"success": True})
        if task.callback_url or task.request.get("async"):
            # Both forms are documented.
            self._acknowledged += 1
            success = {"success": True} if self._acknowledged % 2 == 0 else {}
            return jsonify({**success, "task_id": task.id})
        return self._wait(task)

    def _wait(self, task: Task) -> Response:
        if not self._studio.wait(task, task.request.get("timeout", DEFAULT_TIMEOUT)) or task.finished_at is None:
            raise Refusal(504, "timeout", "Timeout to generate the image.")
        if task.failure:
            status = 400 if task.failure.code == "bad_request" else 500
            raise Refusal(status, task.failure.code, task.failure.message)
        return jsonify(self._dialect.result(task))

    def _hang_up(self, seconds: float) -> bytes:
        self._studio.stopping.wait(seconds)
        raise Hangup


def _error(refusal: Refusal, trace_id: str) -> Response:
    answer = jsonify({"error": {"code": refusal.code, "message": refusal.message}, "trace_id": trace_id})
    answer.status_code = refusal.status
    answer.headers.update(refusal.headers)
    return answer
