"""The endpoints of Ace Data Cloud, and what each submission makes."""

import itertools
import re
import time
import uuid
from collections.abc import Mapping
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from flask import request

from webhook.sandbox.acedata import texts
from webhook.sandbox.acedata.checks import (
    check_action,
    check_edits,
    check_image,
    check_imagine,
    check_text,
    check_token,
    check_video,
    check_videos,
)
from webhook.sandbox.acedata.files import edited_files, image_files, previews, video_files
from webhook.sandbox.acedata.records import Records
from webhook.sandbox.acedata.replies import AceWords, trace_id
from webhook.sandbox.acedata.task import AceTask
from webhook.sandbox.dialect import Facts
from webhook.sandbox.engine import Engine
from webhook.sandbox.faults import without_fault_words
from webhook.sandbox.pictures import Picture, follow_up, is_grid


class AceData(AceWords):
    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self._records = Records(engine)
        self._channel = f"/attachments/{engine.snowflake()}"
        # Theirs look like microseconds.
        self._video_ids = itertools.count(time.time_ns() // 1000)
        self.submits("/midjourney/imagine", self._imagine)
        self.submits("/midjourney/edits", self._edits)
        self.submits("/midjourney/videos", self._videos)
        for endpoint in ("describe", "translate", "seed", "shorten"):
            self.submits(f"/midjourney/{endpoint}", partial(self._text, endpoint))
        self.answers("POST", "/midjourney/tasks", lambda: self._records.query(self._read()))

    def _read(self) -> Any:
        check_token(request.headers.get("Authorization"))
        return request.get_json(force=True, silent=True)

    # --- submissions ---

    def _imagine(self, facts: Facts) -> AceTask:
        fields = check_imagine(self._read())
        knobs = self._knobs(facts, "imagine", fields)
        image_id = self.engine.snowflake()
        shown, seed = _caption(fields.get("prompt", "")), int(image_id)
        if fields["action"] == "generate":
            picture = Picture(prompt=shown, seed=seed)
        else:
            parent = check_action(self.engine.find(AceTask, fields["image_id"]), fields)
            picture = follow_up(parent.picture, fields["action"], shown or parent.picture.prompt, seed)
        return self._images("imagine", fields, knobs, picture, image_id)

    def _edits(self, facts: Facts) -> AceTask:
        fields = check_edits(self._read())
        knobs = self._knobs(facts, "edits", fields)
        image_id = self.engine.snowflake()
        picture = Picture(prompt=without_fault_words(fields["prompt"]), seed=int(image_id))
        return self._images("edits", fields, knobs, picture, image_id)

    def _images(
        self, kind: str, fields: Mapping[str, Any], knobs: frozenset[str], picture: Picture, image_id: str
    ) -> AceTask:
        job_id, ids = str(uuid.uuid4()), {stage: self.engine.snowflake() for stage in self.stages}
        files = edited_files if kind == "edits" else image_files
        split = fields.get("split_images", False) and (kind == "edits" or is_grid(fields["action"]))
        return self._task(
            kind,
            fields,
            knobs,
            picture,
            job_id=job_id,
            files=files(f"{self._channel}/{image_id}", job_id, picture, split=split),
            previews=previews(self._channel, job_id, picture, ids),
            image_id=image_id,
            preview_ids=ids,
        )

    def _videos(self, facts: Facts) -> AceTask:
        fields = check_videos(self._read())
        knobs = self._knobs(facts, "videos", fields)
        job_id, video_id = str(uuid.uuid4()), str(next(self._video_ids))
        if fields["action"] == "extend":
            index = fields.get("video_index", 0)
            parent = check_video(self.engine.find(AceTask, fields["video_id"]), index)
            picture = parent.files[index].picture
        else:
            source = self._picture(fields["image_url"])
            picture = source or Picture(prompt=without_fault_words(fields["prompt"]), seed=int(video_id), quadrant=1)
        files = video_files(video_id, job_id, picture, fields.get("resolution", "720p"))
        return self._task("videos", fields, knobs, picture, job_id=job_id, files=files, video_id=video_id)

    def _text(self, endpoint: str, facts: Facts) -> AceTask:
        fields = check_text(endpoint, self._read())
        (asked,) = fields.values()
        knobs = self.knobs(facts, asked, prompt=asked, action=endpoint, callback_url=None)
        text: Mapping[str, Any]
        match endpoint:
            case "describe":
                source = self._picture(asked)
                text = texts.describe(asked, source.prompt if source else None)
            case "translate":
                text = texts.translate(asked)
            case "seed":
                text = texts.seed(check_image(self.engine.find(AceTask, asked), asked).picture.seed)
            case _:
                text = texts.shorten(asked)
        return self._task(endpoint, fields, knobs, Picture(prompt=asked, seed=0), text=text)

    def _knobs(self, facts: Facts, kind: str, fields: Mapping[str, Any]) -> frozenset[str]:
        prompt, callback_url = fields.get("prompt", ""), fields.get("callback_url") or None
        return self.knobs(facts, prompt, prompt=prompt, action=_action(kind, fields), callback_url=callback_url)

    def _task(
        self, kind: str, fields: Mapping[str, Any], knobs: frozenset[str], picture: Picture, **more: Any
    ) -> AceTask:
        trace, callback_url = trace_id(), fields.get("callback_url") or None
        streams = "application/x-ndjson" in request.headers.get("Accept", "")
        task = AceTask(
            dialect=self,
            id=str(uuid.uuid4()),
            request=fields,
            action=_action(kind, fields),
            prompt=fields.get("prompt") or picture.prompt,
            picture=picture,
            base_url=request.host_url.rstrip("/"),
            callback_url=callback_url,
            knobs=knobs,
            streams=streams and callback_url is not None,
            type=kind,
            trace_id=trace,
            **more,
        )
        ids = (task.image_id, task.video_id, *task.preview_ids.values())
        task.names = (trace, *(one for one in ids if one))
        return task

    def _picture(self, link: str) -> Picture | None:
        """Return the image under this link, if the sandbox made it."""
        found = self.engine.find_file(urlsplit(link).path)
        return found[1].picture if found else None


def _action(kind: str, fields: Mapping[str, Any]) -> str:
    """Return the name that bill and journal use."""
    action = fields.get("action", "")
    return str(action) if kind == "imagine" else f"{kind} {action}".strip()


def _caption(prompt: str) -> str:
    """The prompt without the image links at its head."""
    shown = without_fault_words(prompt)
    words = re.sub(r"^(https?://\S+\s*)+", "", shown)
    return words or ("a blend" if shown else "")
