"""A process that runs one task and ends, or is frozen, in the middle of it: killed at a named step by `os._exit`.

No step is marked in the program itself. The process replaces one function of it by one that never returns.
"""

import importlib
import itertools
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

import worker.services
import worker.wakeup
from tests.patience import patient, wait_for
from tests.pipeline import MovableClock, Pipeline, celery_app
from tests.postgres import Postgres
from worker.ledger import Ledger
from worker.ledger.migrations import upgrade
from worker.runtime.draining import LEASE
from worker.services import Services, services

CRASHED = 77
#: seconds until the others may take what a dead one had
AFTER_THE_LEASE = LEASE.total_seconds() + 1

# A fresh process that has everything imported and no threads, forked from for each crash: a fork of pytest would copy
# the locks of its servers' threads.
_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload([__name__, "worker.archive.s3", "worker.providers.acedata"])


@dataclass(frozen=True)
class Step:
    """`before` or `after` a function of the program, named by its module and its name in there; the n-th `turn`."""

    when: str
    module: str
    function: str
    turn: int = 1

    def replace(self, act: Callable[[], None]) -> None:
        *path, name = self.function.split(".")
        owner: Any = importlib.import_module(self.module)
        for part in path:
            owner = getattr(owner, part)
        original = getattr(owner, name)
        turns = itertools.count(1)

        def replaced(*arguments: Any, **options: Any) -> Any:
            is_now = next(turns) >= self.turn
            if is_now and self.when == "before":
                act()
            result = original(*arguments, **options)
            if is_now and self.when == "after":
                act()
            return result

        setattr(owner, name, replaced)


#: the name of a task, or what a person does, as a function of a module
Work = str | Callable[[], object]


def crash(pipeline: Pipeline, task: Work, step: Step) -> int | None:
    """Run the task in a process that dies at the step; its exit code, which is CRASHED if it came to it."""
    return _end_of(_start(pipeline, task, step, frozen_for=None))


@contextmanager
def frozen(pipeline: Pipeline, task: str, step: Step, seconds: float) -> Any:
    """Run the task in a process that stands still at the step while the block runs, and then goes on to its end.

    To it, and to the pipeline, so many `seconds` have passed.
    """
    process = _start(pipeline, task, step, frozen_for=seconds)
    suspended = psutil.Process(process.pid)
    came_there = wait_for(lambda: suspended.status() == psutil.STATUS_STOPPED, seconds=30)
    assert came_there, "it never came to the step"
    try:
        pipeline.clock.advance(seconds=seconds)
        yield
    finally:
        suspended.resume()
    assert _end_of(process) == 0


def _end_of(process: Any) -> int | None:
    process.join(patient(30))
    process.kill()
    return process.exitcode


def _start(pipeline: Pipeline, task: Work, step: Step, frozen_for: float | None) -> Any:
    arguments = (dict(os.environ), pipeline.clock.ahead, task, step, frozen_for)
    process = _processes.Process(target=_run, args=arguments)
    process.start()
    return process


def _run(environment: dict[str, str], ahead: timedelta, task: Work, step: Step, frozen_for: float | None) -> None:
    os.environ.clear()
    os.environ.update(environment)
    clock = MovableClock()
    clock.advance(seconds=ahead.total_seconds())
    worker.services.Services = partial(Services, clock=clock)
    services.cache_clear()
    celery_app.conf.broker_url = environment.get("REDIS_URL", celery_app.conf.broker_url)
    worker.wakeup.send = lambda _kinds: None

    came_here: list[None] = []

    def freeze() -> None:
        if not came_here:
            came_here.append(None)
            os.kill(os.getpid(), signal.SIGSTOP)
            clock.advance(seconds=frozen_for)

    step.replace((lambda: os._exit(CRASHED)) if frozen_for is None else freeze)
    (celery_app.tasks[task] if isinstance(task, str) else task)()


def recover(pipeline: Pipeline, done: Callable[[], bool]) -> None:
    """What the others do when the lease of the dead one has ended; no bell that it wanted to ring was heard."""
    pipeline.bells.clear()
    pipeline.clock.advance(seconds=AFTER_THE_LEASE)
    pipeline.until(done)


@contextmanager
def migrated_ledger(request: pytest.FixtureRequest, folder: Path, name: str) -> Iterator[str]:
    """The address of a ledger of its own on the database that `request.param` names."""
    server: Postgres | None = None
    url = f"sqlite:///{folder / 'ledger.sqlite3'}"
    if request.param == "postgresql":
        server = request.getfixturevalue("postgres")
        server.create(name)
        url = server.url(name)
    ledger = Ledger(url)
    upgrade(ledger.database)
    ledger.close()
    yield url
    if server is not None:
        server.drop(name)
