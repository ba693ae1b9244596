"""The endpoints of Kie."""

import itertools
import time
import uuid
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from flask import Response, jsonify, request

from webhook.sandbox.dialect import Dialect, Facts, Refusal
from webhook.sandbox.engine import Engine
from webhook.sandbox.example import Example
from webhook.sandbox.faults import without_fault_words
from webhook.sandbox.kie.bodies import callback, in_strings, record, signature
from webhook.sandbox.kie.checks import (
    check_extend,
    check_fields,
    check_generate,
    check_parent,
    check_token,
    invalid,
)
from webhook.sandbox.kie.fields import DOWNLOAD, UPSCALE, VARY, VIDEO_TYPES, Check
from webhook.sandbox.kie.task import MP4, KieTask
from webhook.sandbox.pictures import Picture, follow_up, quarters
from webhook.sandbox.task import Failure, File

#: the host of the real files; the service returns a download link for any path on it
RESULT_HOST = "tempfile.aiquickdraw.com"
#: seconds that a download link works
DOWNLOAD_LIFE = 20 * 60
CREDIT = 10_000

_FAULTS: Mapping[str, tuple[int, str]] = {
    "too_many": (429, "Rate limit exceeded"),
    "unavailable": (455, "Service unavailable: the system is currently undergoing maintenance"),
    "error_before": (500, "Server error"),
    "error_after": (500, "Server error"),
    "reject": (400, "Your prompt was flagged as violating the content policy"),
}


class Kie(Dialect[KieTask]):
    name = "kie"
    title = "Kie.ai"
    instead_of = "https://api.kie.ai"
    example = Example(
        path="/api/v1/mj/generate",
        fields={"taskType": "mj_txt2img", "prompt": "a red fox in tall grass"},
        callback_field="callBackUrl",
    )
    prefix = "/api/v1/"
    # The page on callbacks says 500, the table of codes says 501, for the same failure.
    failures = (Failure("500", "Image generation failed"), Failure("501", "Generation failed"))
    #: three retries, as documented, but sooner than 1, 5 and 15 minutes later
    retry_pauses = (0.1, 0.2, 0.4)

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self._unknown = itertools.cycle((422, 404))
        self._strings = itertools.cycle((False, True))
        self.submits("/api/v1/mj/generate", self._generate)
        self.submits("/api/v1/mj/generateUpscale", self._upscale)
        self.submits("/api/v1/mj/generateVary", self._vary)
        self.submits("/api/v1/mj/generateVideoExtend", self._extend)
        self.answers("GET", "/api/v1/mj/record-info", self._record_info)
        self.answers("GET", "/api/v1/chat/credit", self._credit)
        self.answers("POST", "/api/v1/common/download-url", self._download_url)

    # --- submissions ---

    def _generate(self, facts: Facts) -> KieTask:
        fields, facts["ignored"] = check_generate(_paid_body())
        knobs = self._knobs(facts, fields, fields["taskType"], fields["prompt"])
        grid = Picture(prompt=without_fault_words(fields["prompt"]), seed=int(self.engine.snowflake()))
        if fields["taskType"] in VIDEO_TYPES:
            share = 1.0 if fields["taskType"] == "mj_video_hd" else 0.5
            files = _files("mp4", MP4, quarters(grid)[: fields.get("videoBatchSize", 1)], share)
        else:
            files = _files("jpeg", "image/jpeg", quarters(grid), 0.5)
        return self._task(fields, fields["taskType"], grid, files, knobs)

    def _upscale(self, facts: Facts) -> KieTask:
        fields, parent, knobs = self._of_picture(facts, UPSCALE, "mj_upscale")
        action = f"upscale{fields['imageIndex'] + 1}"
        large = follow_up(parent.picture, action, parent.picture.prompt, int(self.engine.snowflake()))
        return self._task(fields, "mj_upscale", large, _files("png", "image/png", (large,), 1.0), knobs)

    def _vary(self, facts: Facts) -> KieTask:
        fields, parent, knobs = self._of_picture(facts, VARY, "mj_vary")
        grid = follow_up(parent.picture, "variation", parent.picture.prompt, int(self.engine.snowflake()))
        return self._task(fields, "mj_vary", grid, _files("jpeg", "image/jpeg", quarters(grid), 0.5), knobs)

    def _of_picture(
        self, facts: Facts, known: Mapping[str, Check], action: str
    ) -> tuple[dict[str, Any], KieTask, frozenset[str]]:
        fields = check_fields(_paid_body(), known, "taskId", "imageIndex")
        facts["image_index"] = fields["imageIndex"]
        parent = check_parent(self.engine.find(KieTask, fields["taskId"]), video=False)
        return fields, parent, self._knobs(facts, fields, action, "")

    def _extend(self, facts: Facts) -> KieTask:
        fields = check_extend(_paid_body())
        parent = check_parent(self.engine.find(KieTask, fields["taskId"]), video=True)
        if fields["index"] >= len(parent.files):
            raise invalid(f"index must be less than {len(parent.files)}, the number of videos")
        prompt = fields.get("prompt", "")
        knobs = self._knobs(facts, fields, fields["taskType"], prompt)
        shown = without_fault_words(prompt) or parent.picture.prompt
        scene = follow_up(parent.picture, "extend", shown, int(self.engine.snowflake()))
        files = _files("mp4", MP4, quarters(scene)[:1], parent.files[0].share)
        return self._task(fields, fields["taskType"], scene, files, knobs)

    def _knobs(self, facts: Facts, fields: Mapping[str, Any], action: str, prompt: str) -> frozenset[str]:
        return self.knobs(facts, prompt, prompt=prompt, action=action, callback_url=fields.get("callBackUrl"))

    def _task(
        self,
        fields: Mapping[str, Any],
        action: str,
        picture: Picture,
        files: tuple[File, ...],
        knobs: frozenset[str],
    ) -> KieTask:
        return KieTask(
            dialect=self,
            id=uuid.uuid4().hex,
            request=fields,
            action=action,
            prompt=fields.get("prompt") or picture.prompt,
            picture=picture,
            base_url=request.host_url.rstrip("/"),
            callback_url=fields.get("callBackUrl"),
            knobs=knobs,
            files=files,
        )

    # --- questions ---

    def _record_info(self) -> dict[str, Any]:
        check_token(request.headers.get("Authorization"))
        task_id = request.args.get("taskId")
        if not task_id:
            raise invalid("taskId is required")
        task = self.engine.find(KieTask, task_id)
        if task is None or (task.finished_at is None and not task.asked):
            if task is not None:
                task.asked = True
            raise Refusal(next(self._unknown), "recordInfo is null", more={"data": None})
        documented = record(task)
        return in_strings(documented) if task.finished_at and next(self._strings) else documented

    def _credit(self) -> dict[str, Any]:
        token = check_token(request.headers.get("Authorization"))
        lines = self.engine.journal.bill()["lines"]
        spent = sum(line["amount"] for line in lines if line["provider"] == self.name and not line["refunded"])
        return _success(0 if token == "used-up" else CREDIT - spent)  # noqa: S105

    def _download_url(self) -> dict[str, Any]:
        """Return a link for anything that looks like a result, even a made-up one, as a third party saw Kie do."""
        check_token(request.headers.get("Authorization"))
        url = check_fields(request.get_json(force=True, silent=True), DOWNLOAD, "url")["url"]
        try:
            link = urlsplit(url)
        except ValueError as error:
            raise invalid(f"URL is invalid: {error}") from error
        if link.netloc not in {request.host, RESULT_HOST}:
            raise invalid("URL is invalid (external file URLs are not supported)")
        found = self.engine.find_file(link.path)
        works = not (found and "dead_links_forever" in found[0].knobs)
        base_url = request.host_url.rstrip("/")
        return _success(self.engine.links.mint(base_url, link.path, works=works, life=DOWNLOAD_LIFE))

    # --- its words ---

    def acknowledge(self, task: KieTask) -> dict[str, Any]:
        return _success({"taskId": task.id})

    def without_id(self) -> dict[str, Any]:
        return _success({})

    def callback_body(self, task: KieTask, progress: int) -> dict[str, Any]:  # noqa: ARG002
        return callback(task)

    def callback_headers(self, task: KieTask) -> Mapping[str, str]:
        if not (key := self.engine.options.hmac_key):
            return {}
        now = int(time.time())
        return {"X-Webhook-Timestamp": str(now), "X-Webhook-Signature": signature(key, task.id, now)}

    def fault(self, knob: str) -> Refusal:
        return Refusal(*_FAULTS[knob])

    def bad_request(self, message: str) -> Refusal:
        return invalid(message)

    def error(self, refusal: Refusal) -> Response:
        answer = jsonify({"code": refusal.code, "msg": refusal.message, **refusal.more})
        answer.status_code = refusal.status
        answer.headers.update(refusal.headers)
        return answer


def _paid_body() -> Any:
    check_token(request.headers.get("Authorization"), pays=True)
    return request.get_json(force=True, silent=True)


def _success(data: Any) -> dict[str, Any]:
    return {"code": 200, "msg": "success", "data": data}


def _files(suffix: str, mimetype: str, pictures: tuple[Picture, ...], share: float) -> tuple[File, ...]:
    name = uuid.uuid4().hex
    return tuple(
        File(path=f"/v/{name}_0_{number}.{suffix}", picture=picture, mimetype=mimetype, share=share, signed=False)
        for number, picture in enumerate(pictures)
    )
