"""The sandbox's generations and their life cycle, shared by all sandbox providers."""

import itertools
import json
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from webhook.sandbox.callbacks import Callbacks
from webhook.sandbox.faults import Faults
from webhook.sandbox.journal import Charge, Journal
from webhook.sandbox.keys import Keys, asking_key
from webhook.sandbox.links import Links
from webhook.sandbox.task import File, Task
from webhook.sandbox.timer import Timer

TINY_SIDE = 16
#: seconds that `hang` holds a connection
HANG = 60
_DISCORD_EPOCH_MS = 1_420_070_400_000

T = TypeVar("T", bound=Task)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """`delay` and `link_life` are seconds, `size` is the side of an image in pixels.

    Dialects that sign their callbacks do so with `hmac_key`, if it is set.
    """

    delay: float = 2.0
    size: int = 1024
    link_life: float = 86_400.0
    seed: int = 0
    faults: Mapping[str, float] = field(default_factory=dict)
    hmac_key: str = ""


class Engine:
    def __init__(self, options: Options) -> None:
        self.options = options
        self.journal = Journal()
        self.faults = Faults(options.faults, options.seed)
        self.keys = Keys()
        self.links = Links(options.link_life)
        self.callbacks = Callbacks(self.journal)
        self.stopping = threading.Event()
        self._timer = Timer()
        self._changed = threading.Condition()
        #: in order of submission; the values are unused
        self._tasks: dict[Task, None] = {}
        self._by_name: dict[tuple[type[Task], str], Task] = {}
        self._files: dict[str, tuple[Task, File]] = {}
        self._last_snowflake = 0

    # --- submissions ---

    def snowflake(self) -> str:
        """A Discord message id: too large for a double, which is why providers send it as a string."""
        with self._changed:
            now = (int(time.time() * 1000) - _DISCORD_EPOCH_MS) << 22
            self._last_snowflake = max(now, self._last_snowflake + 1)
            return str(self._last_snowflake)

    def accept(self, task: Task) -> None:
        """Charge the task and start it."""
        task.key = asking_key()
        self.keys.spend(task.key)
        with self._changed:
            self._tasks[task] = None
            self._by_name.update(((type(task), name), task) for name in (task.id, *task.names))
            self._files.update((file.path, (task, file)) for file in (*task.files, *task.previews))
        self.journal.charge(
            Charge(
                provider=task.dialect.name,
                task_id=task.id,
                prompt=task.prompt,
                action=task.action,
                callback_url=task.callback_url,
                at=task.created_at,
                key=task.key,
            )
        )
        if "early" in task.knobs:
            self._finish(task)
            self._announce(task)
        else:
            streams = task.streams and "reorder" not in task.knobs
            self._plan(task, task.dialect.stages if streams else (), time.monotonic())

    def wait(self, task: Task, timeout: float) -> bool:
        """Wait at most `timeout` seconds; return whether it finished."""
        with self._changed:
            return self._changed.wait_for(lambda: task.finished_at is not None or self.stopping.is_set(), timeout)

    # --- their life cycle ---

    def _plan(self, task: Task, stages: tuple[int, ...], began: float) -> None:
        """Schedule the next stage; the one after it is scheduled once this one is sent, so they stay in order."""
        delay = max(1.0, self.options.delay * 5) if "delay" in task.knobs else self.options.delay
        share = stages[0] / 100 if stages else 1

        def tell_and_go_on() -> None:
            self._deliver(task, stages[0])
            self._plan(task, stages[1:], began)

        def next_stage() -> None:
            if task not in self._tasks:
                return  # forgotten meanwhile
            if stages:
                task.progress = stages[0]
                self.callbacks.later(tell_and_go_on)
            else:
                self._finish(task)
                self.callbacks.later(lambda: self._announce(task))

        self._timer.call_at(began + delay * share, next_stage)

    def _finish(self, task: Task) -> None:
        with self._changed:
            if "fail" in task.knobs:
                task.failure = task.dialect.next_failure()
            task.progress = 100
            task.finished_at = time.time()
            self._changed.notify_all()
        if task.failure:
            self.journal.refund(task.dialect.name, task.id)

    def _announce(self, task: Task) -> None:
        if not task.callback_url:
            return
        if "drop" in task.knobs:
            facts = {"provider": task.dialect.name, "task_id": task.id, "url": task.callback_url}
            self.journal.note("callback", **facts, progress=100, error="dropped")
            return
        body = self._body(task, 100)
        if "duplicate" in task.knobs:
            for _ in range(2):
                self.callbacks.later(lambda: self._post(task, body, 100))
        self._post(task, body, 100)
        if "reorder" in task.knobs:
            for progress in task.dialect.stages:
                self._deliver(task, progress)

    def _deliver(self, task: Task, progress: int) -> None:
        if task.callback_url and "drop" not in task.knobs:
            self._post(task, self._body(task, progress), progress)

    def _body(self, task: Task, progress: int) -> bytes:
        return json.dumps(task.dialect.callback_body(task, progress)).encode()

    def _post(self, task: Task, body: bytes, progress: int, tried: int = 0) -> None:
        if not task.callback_url:
            return
        dialect = task.dialect
        facts = {"provider": dialect.name, "task_id": task.id, "progress": progress}
        status = self.callbacks.deliver(task.callback_url, body, dialect.callback_headers(task), **facts)
        if status != 200 and tried < len(dialect.retry_pauses):
            again = time.monotonic() + dialect.retry_pauses[tried]
            self._timer.call_at(
                again, lambda: self.callbacks.later(lambda: self._post(task, body, progress, tried + 1))
            )

    # --- questions ---

    def find(self, kind: type[T], name: str) -> T | None:
        """Return this dialect's task with this id or other name, if it belongs to the request's key."""
        with self._changed:
            task = self._by_name.get((kind, name))
        return task if isinstance(task, kind) and _may_see(task) else None

    def find_file(self, path: str) -> tuple[Task, File] | None:
        with self._changed:
            return self._files.get(path)

    def recent(self, kind: type[T], offset: int, limit: int) -> list[T]:
        """Return the tasks of the request's key, newest first; pass `Task` for all dialects."""
        with self._changed:
            found = (task for task in reversed(self._tasks) if isinstance(task, kind) and _may_see(task))
            return list(itertools.islice(found, offset, offset + limit))

    def side(self, task: Task) -> int:
        return TINY_SIDE if task.tiny else self.options.size

    # --- links ---

    def give_links(self, task: Task) -> list[str]:
        """Return links to its files, in order, and count the call for the knob `dead_links`."""
        with self._changed:
            task.times_given += 1
        return [self._link(task, file, works=self._alive(task)) for file in task.files]

    def preview_link(self, task: Task, progress: int) -> str | None:
        found = next((file for file in task.previews if file.progress == progress), None)
        return self._link(task, found, works="dead_links_forever" not in task.knobs) if found else None

    def may_download(self, task: Task, file: File, query: Mapping[str, str]) -> bool:
        """Return whether the link is valid. Files with unsigned links accept signed ones as well."""
        if file.signed or "hm" in query:
            return self.links.works(file.path, query)
        since = task.finished_at or time.time()
        return self._alive(task) and time.time() < since + self.options.link_life

    def _alive(self, task: Task) -> bool:
        return "dead_links_forever" not in task.knobs and ("dead_links" not in task.knobs or task.times_given > 1)

    def _link(self, task: Task, file: File, *, works: bool) -> str:
        return self.links.mint(task.base_url, file.path, works=works) if file.signed else task.base_url + file.path

    # --- the end ---

    def reset(self) -> None:
        """Forget all generations, the bill and the log; the knobs stay as they are."""
        with self._changed:
            self._tasks.clear()
            self._by_name.clear()
            self._files.clear()
        self.journal.forget()

    def stop(self) -> None:
        self.stopping.set()
        with self._changed:
            self._changed.notify_all()
        self._timer.stop()
        self.callbacks.stop()


def _may_see(task: Task) -> bool:
    return asking_key() in {None, task.key}
