"""midjourney-proxy's submissions, by kind."""

import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from flask import request

from webhook.sandbox.dialect import Dialect, Facts, Refusal
from webhook.sandbox.discord import DESCRIPTION, Button, Drawing, described, draw, is_data_link
from webhook.sandbox.faults import without_fault_words
from webhook.sandbox.mjproxy.checks import (
    NOT_FOUND,
    WINDOW,
    bad_request,
    check_blend,
    check_change,
    check_prompt,
    check_secret,
    check_simple_change,
    check_speed,
    read_fields,
)
from webhook.sandbox.mjproxy.task import MjTask
from webhook.sandbox.mjproxy.variants import Variant, read_variant, without_variant_words
from webhook.sandbox.pictures import Picture, follow_up
from webhook.sandbox.task import File

_GONE = "关联任务不存在或已失效"
_WINDOWS = {"variation_region", "custom_zoom"}


class Submissions:
    def __init__(self, dialect: Dialect[MjTask]) -> None:
        self._dialect = dialect
        self._engine = dialect.engine
        #: the channel's name is the account's
        self.account = self._engine.snowflake()
        self._lock = threading.Lock()
        self._last_id = 0
        self._windows: dict[str, MjTask] = {}

    def endpoints(self) -> Mapping[str, Callable[[Facts], MjTask]]:
        return {
            "imagine": self._imagine,
            "change": lambda facts: self._change(facts, check_change),
            "simple-change": lambda facts: self._change(facts, check_simple_change),
            "action": self._action,
            "modal": self._modal,
            "blend": self._blend,
            "describe": self._describe,
        }

    def new_id(self) -> str:
        """Milliseconds and three random digits."""
        with self._lock:
            self._last_id = max(self._last_id + 1, int(time.time() * 1000) * 1000 + random.randrange(1000))
            return str(self._last_id)

    def window(self, task_id: str) -> MjTask | None:
        """Return the task that waits for its window to be confirmed."""
        return self._windows.get(task_id)

    # --- new work ---

    def _imagine(self, facts: Facts) -> MjTask:
        fields = _fields()
        prompt = check_prompt(fields)
        variant, late = read_variant(prompt)
        picture = Picture(prompt=_shown(prompt), seed=int(self._engine.snowflake()))
        drawing = draw(self._engine, self.account, picture)
        task = self._task(fields, "IMAGINE", f"/imagine {prompt}", drawing, variant, prompt=prompt, late=late)
        return self._with_knobs(facts, task, prompt)

    def _blend(self, facts: Facts) -> MjTask:
        fields = _fields()
        count = check_blend(fields)
        picture = Picture(prompt=f"{count} images blended", seed=int(self._engine.snowflake()))
        drawing = draw(self._engine, self.account, picture)
        task = self._task(fields, "BLEND", f"/blend {count}", drawing, Variant.CSHARP)
        return self._with_knobs(facts, task)

    def _describe(self, facts: Facts) -> MjTask:
        fields = _fields()
        if not is_data_link(fields.get("base64")):
            raise bad_request("base64格式错误")
        drawing = described(self._engine, self.account)
        task = self._task(fields, "DESCRIBE", "/describe", drawing, Variant.CSHARP)
        return self._with_knobs(facts, task)

    # --- follow-ups ---

    def _change(self, facts: Facts, read: Callable[[Mapping[str, Any]], tuple[str, str]]) -> MjTask:
        """By image number, as in the Java program; only grids have four."""
        fields = _fields()
        parent_id, action = read(fields)
        parent = self._parent(parent_id, 200)
        button = parent.button_for(action)
        if button is None:
            raise bad_request("关联任务不允许执行变化")
        return self._with_knobs(facts, self._followed(fields, parent, button))

    def _action(self, facts: Facts) -> MjTask:
        """By custom id, as in the C# program. Code 21 opens a window, which costs nothing yet."""
        fields = _fields()
        if not fields.get("taskId") or not fields.get("customId"):
            raise bad_request("参数错误")
        parent = self._parent(fields["taskId"], 404)
        if parent.variant is Variant.JAVA:
            raise Refusal(404, "Not Found", status=404)
        button = parent.pressed(fields["customId"])
        if button is None:
            raise bad_request("未知的 Action 类型")
        task = self._with_knobs(facts, self._followed(fields, parent, button))
        if button.action not in _WINDOWS:
            return task
        self._windows[task.id] = replace(task, window=True, previews=(), files=())
        properties = {"finalPrompt": "" if button.action == "variation_region" else task.prompt, "remix": True}
        raise Refusal(WINDOW, "Waiting for window confirm", more={"result": task.id, "properties": properties})

    def _modal(self, facts: Facts) -> MjTask:
        """Confirm a window with a prompt, and a region with its mask; the window's hook and state are kept."""
        fields = _fields()
        waiting = self._windows.get(fields.get("taskId", ""))
        if waiting is None or waiting.parent is None or waiting.button is None:
            raise Refusal(NOT_FOUND, _GONE, status=404)
        prompt = fields.get("prompt", "").strip() or waiting.parent.prompt
        if waiting.button.action == "variation_region" and not is_data_link(fields.get("maskBase64")):
            raise bad_request("base64格式错误")
        drawing = self._drawing(waiting.parent, waiting.button, fields.get("prompt", ""))
        task = replace(
            waiting,
            request=fields,
            prompt=prompt,
            picture=drawing.file.picture,
            drawing=drawing,
            **_files(waiting.id, waiting.variant, drawing),
            window=False,
        )
        task = self._with_knobs(facts, task, fields.get("prompt", ""))
        if self._windows.pop(task.id, None) is None:
            raise bad_request("关联任务状态错误")
        return task

    def _parent(self, task_id: str, status: int) -> MjTask:
        parent = self._engine.find(MjTask, task_id)
        if parent is None:
            raise Refusal(NOT_FOUND, _GONE, status=status)
        if parent.finished_at is None or parent.failure:
            raise bad_request("关联任务状态错误")
        return parent

    def _followed(self, fields: Mapping[str, Any], parent: MjTask, button: Button) -> MjTask:
        drawing = self._drawing(parent, button, "")
        description = f"/up {parent.id} {button.label or button.emoji}"
        task = self._task(
            fields, _action_word(parent, button), description, drawing, parent.variant, prompt=parent.prompt
        )
        return replace(task, parent=parent, button=button)

    def _drawing(self, parent: MjTask, button: Button, prompt: str) -> Drawing:
        action = "zoom_out_1_5x" if button.action == "custom_zoom" else button.action
        shown = _shown(prompt) or parent.picture.prompt
        picture = follow_up(parent.picture, action, shown, int(self._engine.snowflake()))
        return draw(self._engine, self.account, picture)

    # --- all of them ---

    def _with_knobs(self, facts: Facts, task: MjTask, words: str = "") -> MjTask:
        speed = check_speed(task.request, (request.view_args or {}).get("mode"))
        asked = {"prompt": task.prompt, "action": task.action, "callback_url": task.hook, "speed": speed}
        return replace(task, knobs=self._dialect.knobs(facts, words, **asked))

    def _task(
        self,
        fields: Mapping[str, Any],
        action: str,
        description: str,
        drawing: Drawing,
        variant: Variant,
        *,
        prompt: str = "",
        late: bool = False,
    ) -> MjTask:
        hook, relayed, task_id = fields.get("notifyHook"), variant is Variant.RELAY, self.new_id()
        return MjTask(
            dialect=self._dialect,
            id=task_id,
            request=fields,
            action=action,
            prompt=prompt,
            picture=drawing.file.picture,
            base_url=request.host_url.rstrip("/"),
            callback_url=None if relayed else hook,
            knobs=frozenset(),
            **_files(task_id, variant, drawing),
            text=DESCRIPTION if action == "DESCRIBE" else None,
            streams=True,
            drawing=drawing,
            variant=variant,
            account=self.account,
            nonce=self._engine.snowflake(),
            description=description,
            state="" if relayed else fields.get("state"),
            hook=hook,
            late=late,
        )


def _fields() -> dict[str, Any]:
    """Return the secret and the fields of this request; raises Refusal."""
    check_secret(request)
    return read_fields(request)


def _files(task_id: str, variant: Variant, drawing: Drawing) -> dict[str, Any]:
    """A relay has its own unsigned link, and none before the end."""
    if variant is Variant.RELAY:
        return {
            "files": (File(path=f"/mj/image/{task_id}", picture=drawing.file.picture, signed=False),),
            "previews": (),
        }
    return {"files": (drawing.file,), "previews": drawing.previews}


def _shown(prompt: str) -> str:
    return without_variant_words(without_fault_words(prompt))


def _action_word(parent: MjTask, button: Button) -> str:
    action = button.action
    if action == "reroll":
        return "REROLL" if parent.variant is Variant.JAVA else parent.action
    if action.startswith("upscale"):
        return "UPSCALE" if action[-1].isdigit() else "UPSCALE_HD"
    if action.startswith("variation"):
        return "VARIATION"
    return "PAN" if action.startswith("pan") else "ZOOM"
