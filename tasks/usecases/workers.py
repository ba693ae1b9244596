"""The workers, and the work waiting for them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from tasks.usecases.services import LedgerServices
from tasks.waiting import SILENCE
from worker.secrets import described
from worker.steps import Step
from worker.wakeup import waiting

#: rows counted per kind of work; more are reported as "1,000 or more"
MOST_COUNTED = 1000
#: workers silent for longer are no longer listed
FORGOTTEN = timedelta(days=1)


class WorkerState(StrEnum):
    WORKING = "working"
    #: no heartbeat for more than a minute
    SILENT = "silent"
    #: it stopped on request
    STOPPED = "stopped"
    #: its version is too old to start work on this ledger
    TOO_OLD = "too_old"


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedWorker:
    """`revision`: of the ledger that its code expects; `limits`: settings that must be the same for all."""

    name: str
    role: str
    state: WorkerState
    revision: str
    seen_at: datetime
    limits: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class StepWork:
    """`due`: rows that could be worked on now; `wake_ups`: in its queue; None if the broker did not report it."""

    step: Step
    due: int
    queue: str
    wake_ups: int | None

    @property
    def is_more(self) -> bool:
        return self.due >= MOST_COUNTED


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """`broker_error`: why the lengths of the queues are unknown; `unserved`: queues that no worker reads."""

    steps: Sequence[StepWork]
    broker_error: str | None
    unserved: Sequence[str]


def list_workers(here: LedgerServices) -> Sequence[ListedWorker]:
    """Return the workers of the last day, those that need attention first."""
    now = here.clock()
    found = []
    for beat in here.ledger.maintenance.heartbeats():
        silence = beat.silence(now)
        if silence > FORGOTTEN:
            continue
        state = WorkerState.TOO_OLD if beat.is_too_old else WorkerState.WORKING
        if beat.is_stopped:
            state = WorkerState.STOPPED
        elif silence > SILENCE:
            state = WorkerState.SILENT
        found.append(
            ListedWorker(
                name=beat.worker,
                role=beat.role,
                state=state,
                revision=beat.revision,
                seen_at=beat.seen_at,
                limits=beat.limits,
            )
        )
    order = [WorkerState.SILENT, WorkerState.TOO_OLD, WorkerState.WORKING, WorkerState.STOPPED]
    return sorted(found, key=lambda one: (order.index(one.state), one.name))


def work_by_step(here: LedgerServices) -> Work:
    """Return what waits for workers: rows of the ledger that are due, and wake-ups in the broker's queues."""
    queues, error = {}, None
    try:
        queues = waiting()
    except Exception as caught:  # noqa: BLE001  an unreachable broker is reported in the result
        error = described(caught)
    due = here.ledger.maintenance.due_counts(MOST_COUNTED)
    steps = [
        StepWork(
            step=step,
            due=number,
            queue=step.queue,
            wake_ups=queues[step.queue].messages if step.queue in queues else None,
        )
        for step, number in due.items()
    ]
    return Work(
        steps=steps,
        broker_error=error,
        unserved=[queue for queue, one in queues.items() if one.unserved],
    )
