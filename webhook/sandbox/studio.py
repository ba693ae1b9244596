"""The generations of the sandbox and their course of life; what all pretend providers share."""

import itertools
import json
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from webhook.sandbox.callbacks import Callbacks
from webhook.sandbox.faults import Faults
from webhook.sandbox.journal import Charge, Journal
from webhook.sandbox.links import Links
from webhook.sandbox.pictures import render, render_progress
from webhook.sandbox.task import FAILURES, Task
from webhook.sandbox.timer import Timer

#: per cent, at which a provider that streams says something before the end
PROGRESS = (35, 75)
TINY_SIDE = 16
#: seconds that `hang` holds a connection
HANG = 60
_DISCORD_EPOCH_MS = 1_420_070_400_000


@dataclass(frozen=True, slots=True)
class Options:
    """`delay` and `link_life` are seconds, `size` is the side of a picture in pixels."""

    delay: float = 2.0
    size: int = 1024
    link_life: float = 86_400.0
    seed: int = 0
    faults: Mapping[str, float] = field(default_factory=dict)


class Studio:
    def __init__(self, options: Options) -> None:
        self.options = options
        self.journal = Journal()
        self.faults = Faults(options.faults, options.seed)
        self.links = Links(options.link_life)
        self.callbacks = Callbacks(self.journal)
        self.stopping = threading.Event()
        self._timer = Timer()
        self._changed = threading.Condition()
        self._tasks: dict[str, Task] = {}
        self._by_trace: dict[str, Task] = {}
        self._by_image: dict[str, tuple[Task, int]] = {}
        self._last_snowflake = 0
        self._failures = itertools.cycle(FAILURES)
        # Thousands of pictures do not fit into memory; the few that are being looked at do.
        self.render = lru_cache(maxsize=32)(render)
        self.render_progress = lru_cache(maxsize=32)(render_progress)

    # --- submissions ---

    def snowflake(self) -> str:
        """A Discord message id: too large for a double, which is why providers send it as a string."""
        with self._changed:
            now = (int(time.time() * 1000) - _DISCORD_EPOCH_MS) << 22
            self._last_snowflake = max(now, self._last_snowflake + 1)
            return str(self._last_snowflake)

    def accept(self, task: Task) -> None:
        """From here on it is charged and takes its course."""
        if task.streams or "reorder" in task.knobs:
            task.progress_ids.update((progress, self.snowflake()) for progress in PROGRESS)
        with self._changed:
            self._tasks[task.id] = task
            self._by_trace[task.trace_id] = task
            self._by_image[task.image_id] = (task, 100)
            self._by_image.update((image_id, (task, progress)) for progress, image_id in task.progress_ids.items())
        self.journal.charge(
            Charge(task.id, task.trace_id, task.prompt, task.action, task.callback_url, task.created_at)
        )
        if "early" in task.knobs:
            self._finish(task)
            self._announce(task)
        else:
            streams = task.streams and task.callback_url and "reorder" not in task.knobs
            self._plan(task, PROGRESS if streams else (), time.monotonic())

    def wait(self, task: Task, timeout: float) -> bool:
        """Whether it finished in time, in seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: task.finished_at is not None or self.stopping.is_set(), timeout)

    # --- their course ---

    def _plan(self, task: Task, stages: tuple[int, ...], began: float) -> None:
        """Wait for the next stage. The one after it is planned when this one was told, so they stay in order."""
        delay = max(1.0, self.options.delay * 5) if "delay" in task.knobs else self.options.delay
        share = stages[0] / 100 if stages else 1

        def tell_and_go_on() -> None:
            self._deliver(task, stages[0])
            self._plan(task, stages[1:], began)

        def next_stage() -> None:
            if task.id not in self._tasks:
                return  # forgotten meanwhile
            if stages:
                self.callbacks.later(tell_and_go_on)
            else:
                self._finish(task)
                self.callbacks.later(lambda: self._announce(task))

        self._timer.call_at(began + delay * share, next_stage)

    def _finish(self, task: Task) -> None:
        with self._changed:
            if "fail" in task.knobs:
                task.failure = next(self._failures)
            task.finished_at = time.time()
            self._changed.notify_all()
        if task.failure:
            self.journal.refund(task.id)

    def _announce(self, task: Task) -> None:
        if not task.callback_url:
            return
        if "drop" in task.knobs:
            self.journal.note("callback", task_id=task.id, url=task.callback_url, progress=100, error="dropped")
            return
        body = self._body(task, 100)
        if "duplicate" in task.knobs:
            for _ in range(2):
                self.callbacks.later(lambda: self._post(task, body, 100))
        self._post(task, body, 100)
        if "reorder" in task.knobs:
            for progress in PROGRESS:
                self._deliver(task, progress)

    def _deliver(self, task: Task, progress: int) -> None:
        self._post(task, self._body(task, progress), progress)

    def _body(self, task: Task, progress: int) -> bytes:
        return json.dumps(task.dialect.callback_body(task, progress)).encode()

    def _post(self, task: Task, body: bytes, progress: int) -> None:
        if task.callback_url:
            self.callbacks.deliver(task.callback_url, body, task_id=task.id, progress=progress)

    # --- questions ---

    def find(self, task_id: str) -> Task | None:
        with self._changed:
            return self._tasks.get(task_id)

    def find_by_trace(self, trace_id: str) -> Task | None:
        with self._changed:
            return self._by_trace.get(trace_id)

    def find_by_image(self, image_id: str) -> tuple[Task, int] | None:
        """The task that made this image, and how far it was then; only at 100 it can be worked on further."""
        with self._changed:
            return self._by_image.get(image_id)

    def recent(self, offset: int, limit: int) -> list[Task]:
        """Newest first."""
        with self._changed:
            return list(itertools.islice(reversed(self._tasks.values()), offset, offset + limit))

    def side(self, task: Task) -> int:
        return TINY_SIDE if task.tiny else self.options.size

    def link(self, task: Task, path: str, *, first: bool) -> str:
        """A link to a result; `first` says whether it is in the answer that gives the links out for the first time."""
        dead = "dead_links_forever" in task.knobs or ("dead_links" in task.knobs and first)
        return self.links.mint(task.base_url, path, works=not dead)

    def give_links(self, task: Task) -> bool:
        """Whether the links of this task are now given out for the first time."""
        with self._changed:
            first = not task.links_given
            task.links_given = True
            return first

    # --- the end ---

    def reset(self) -> None:
        """Forget all generations, the bill and the log; the knobs stay as they are."""
        with self._changed:
            self._tasks.clear()
            self._by_trace.clear()
            self._by_image.clear()
        self.journal.forget()

    def stop(self) -> None:
        self.stopping.set()
        with self._changed:
            self._changed.notify_all()
        self._timer.stop()
        self.callbacks.stop()
