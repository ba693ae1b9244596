"""The steps of the flow: the one list from which tasks, queues, wake-ups and the ledger's due-queries derive."""

from enum import StrEnum
from typing import Self


class Step(StrEnum):
    """The value is the name of the step's task. It stands in messages, so no version changes it."""

    #: which queue carries its wake-ups; the worker of the clock serves `control` and helps with `quick`
    queue: str
    #: whether the ledger can tell if some of it is due; the clock starts the others on its own
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
    PRUNE = "prune", "archive", False
    PING = "ping", "archive", False
    # Nobody sends it: the clock calls it itself. The name is from before the step was called a sweep.
    SWEEP = "reconcile", "control", False

    @property
    def module(self) -> str:
        """Where its task is."""
        return f"tasks.{self.name.lower()}"


QUEUES = tuple(dict.fromkeys(step.queue for step in Step))
