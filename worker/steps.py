"""The steps of the flow: the single list behind tasks, queues, wake-ups and the ledger's due-queries."""

from enum import StrEnum
from typing import Self


class Step(StrEnum):
    """A step; its value is its task's name, which is part of messages and must not change between versions."""

    #: the queue of its wake-ups; the clock's worker serves `control` and helps with `quick`
    queue: str
    #: whether the ledger has a due-query for it; the clock starts the others by time
    is_found_due: bool

    def __new__(cls, task: str, queue: str, is_found_due: bool = True) -> Self:
        step = str.__new__(cls, task)
        step._value_ = task
        step.queue, step.is_found_due = queue, is_found_due
        return step

    DISPATCH = "dispatch", "quick"
    SUBMIT = "submit", "submit"
    INGEST = "ingest", "quick"
    POLL = "poll", "submit"
    ARCHIVE = "archive", "archive"
    FOLLOW_UP = "follow_up", "quick"
    MANIFEST = "manifest", "archive"
    NOTIFY = "notify", "submit"
    # A separate queue, which a worker may leave out: its work can wait for all other steps.
    THUMBNAIL = "thumbnail", "thumbnails"
    PRUNE = "prune", "archive", False
    PING = "ping", "archive", False
    # Never sent: the clock calls it directly. The name predates the term "sweep".
    SWEEP = "reconcile", "control", False

    @property
    def module(self) -> str:
        """The module of its task."""
        return f"tasks.{self.name.lower()}"


QUEUES = tuple(dict.fromkeys(step.queue for step in Step))
#: the prefix of their names in the broker
KEY_PREFIX = "darkroom:"

#: the task that other applications on the same broker call, and its queue, to them `darkroom:generations`
REQUEST_TASK, REQUEST_QUEUE = "generation.create", "generations"
#: the tasks that other applications' workers send to that queue when their own task has picked images or failed
PICKED_TASK, PICK_FAILED_TASK = "approval.picked", "approval.failed"
#: all tasks whose messages other applications send
FOREIGN_TASKS = (REQUEST_TASK, PICKED_TASK, PICK_FAILED_TASK)
