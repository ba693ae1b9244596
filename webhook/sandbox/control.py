"""The sandbox's own pages, for people and tests: the bill, the log, the knobs, an overview."""

from typing import Any

from flask import Blueprint, Response, jsonify, render_template, request

from webhook.sandbox.engine import Engine
from webhook.sandbox.faults import KNOBS, FaultsInvalid
from webhook.sandbox.task import Task

#: tasks on the page, and in `/sandbox/tasks` unless `limit` is given
SHOWN = 24


class Control:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def blueprint(self) -> Blueprint:
        blueprint = Blueprint("control", __name__)
        blueprint.get("/")(self.page)
        blueprint.get("/livez")(self.livez)
        blueprint.get("/sandbox/bill")(self.bill)
        blueprint.get("/sandbox/log")(self.log)
        blueprint.get("/sandbox/tasks")(self.tasks)
        blueprint.get("/sandbox/faults")(self.faults)
        blueprint.post("/sandbox/faults")(self.set_faults)
        blueprint.get("/sandbox/credit")(self.credit)
        blueprint.post("/sandbox/credit")(self.give_credit)
        blueprint.post("/sandbox/reset")(self.reset)
        return blueprint

    def page(self) -> str:
        tasks = [self._summary(task) for task in self._engine.recent(Task, 0, SHOWN)]
        bill, faults = self._engine.journal.bill(), self._engine.faults.chances()
        return render_template("sandbox.html", tasks=tasks, bill=bill, faults=faults, knobs=KNOBS)

    def livez(self) -> Response:
        return jsonify({"status": "ok"})

    def bill(self) -> Response:
        return jsonify(self._engine.journal.bill())

    def log(self) -> Response:
        return jsonify(self._engine.journal.log(request.args.get("kind")))

    def tasks(self) -> Response:
        limit = max(0, request.args.get("limit", SHOWN, int))
        return jsonify([self._summary(task) for task in self._engine.recent(Task, 0, limit)])

    def faults(self) -> Response:
        return jsonify(self._engine.faults.chances())

    def set_faults(self) -> Response:
        try:
            self._engine.faults.replace(request.get_json(force=True, silent=True))
        except FaultsInvalid as error:
            return _refused(error)
        return self.faults()

    def credit(self) -> Response:
        return jsonify(self._engine.keys.credit())

    def give_credit(self) -> Response:
        try:
            return jsonify(self._engine.keys.give_credit(request.get_json(force=True, silent=True)))
        except ValueError as error:
            return _refused(error)

    def reset(self) -> Response:
        self._engine.reset()
        return jsonify({"status": "reset"})

    def _summary(self, task: Task) -> dict[str, Any]:
        state = "failed" if task.failure else "running" if task.finished_at is None else "finished"
        files = task.files if state == "finished" else ()
        return {
            "provider": task.dialect.name,
            "task_id": task.id,
            "state": state,
            "action": task.action,
            "prompt": task.prompt,
            "callback_url": task.callback_url,
            "faults": sorted(task.knobs),
            "created_at": task.created_at,
            "finished_at": task.finished_at,
            "files": [{"link": self._engine.links.mint("", file.path), "type": file.mimetype} for file in files],
            "text": task.text if state == "finished" else None,
        }


def _refused(error: ValueError) -> Response:
    answer = jsonify({"error": str(error)})
    answer.status_code = 400
    return answer
