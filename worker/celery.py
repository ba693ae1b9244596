"""The Celery application (`celery -A worker`). Messages are bells: what is to be done stands in the ledger.

It is configured on first use: importing it, and every module that needs it, reads no setting.
"""

import gc
import logging
import math
import os
import re
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from importlib import import_module
from typing import Any

from celery import Celery, Task, bootsteps
from celery.loaders.app import AppLoader
from celery.platforms import SecurityWarning
from celery.signals import (
    setup_logging,
    worker_before_create_process,
    worker_process_shutdown,
    worker_ready,
    worker_shutting_down,
)
from kombu.entity import Queue

from worker.errors import ConfigurationError, LedgerUnavailable, VersionTooOld
from worker.ledger import Ledger
from worker.ledger.maintenance import STOPPED
from worker.providers import PROVIDERS
from worker.runtime import give_back_late, shutdown, watchdog
from worker.secrets import configure_logging
from worker.services import Services, secret_values, services
from worker.settings import CeleryBroker, celery_broker, load_settings, misspelt_settings
from worker.steps import QUEUES, Step

log = logging.getLogger(__name__)

# It warns of messages that are pickles, which no worker of ours reads.
warnings.filterwarnings("ignore", message="You're running the worker with superuser", category=SecurityWarning)

HEARTBEAT_SECONDS = 10
#: seconds after which a pool's parent kills the process of a task
_TASK_SECONDS = 90
#: seconds after which a process ends itself: of one without a pool, and of one whose parent is busy with a broker that
#: is away, nobody else ends the task
_LAST_SECONDS = _TASK_SECONDS + 5
#: seconds after which an event loop hangs; without a pool it also works on the tasks
_LOOP_SECONDS = _LAST_SECONDS + 25

#: seconds between two lines of a process that says that its version is too old
_TELL_SECONDS = 600

#: what the names of our queues begin with in the broker
KEY_PREFIX = "darkroom:"


class DrainingTask(Task):  # type: ignore[misc]  # Celery has no types
    """Base of every task: notes that its worker lives, and leaves work undone quietly when the ledger is away.

    Nothing is retried by Celery: what is still due is found by the sweep.
    """

    #: False in the process of the clock, which lives as long as its passes do
    shows_life = True
    _beaten_at = 0.0

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        with (
            watchdog.limit(f"the task {self.name}", _LAST_SECONDS),
            left_for_later(self.name),
            shutdown.work_given_back_on_sigterm(),
        ):
            self._beat()
            return super().__call__(*args, **kwargs)

    def _beat(self) -> None:
        now = time.monotonic()
        is_due = now - DrainingTask._beaten_at >= HEARTBEAT_SECONDS
        if DrainingTask.shows_life and is_due and not shutdown.is_asked():
            DrainingTask._beaten_at = now
            here = services()
            here.ledger.maintenance.beat(self.request.hostname or "unknown", os.getppid(), here.limit_settings)


@contextmanager
def left_for_later(name: str) -> Iterator[None]:
    """Tell why the block could not do its work, in a sentence: a ledger that is away, a setting that is wrong."""
    try:
        yield
    except LedgerUnavailable as error:
        log.warning("%s: left for later: %s", name, error)
    except VersionTooOld as error:
        tell_rarely(error)
    except ConfigurationError as error:
        log.error("%s: cannot work: %s", name, error)  # noqa: TRY400  a person's mistake needs no traceback


_told_at = -math.inf


def tell_rarely(error: VersionTooOld) -> None:
    """Each wake-up meets it again, for as long as this process is not replaced."""
    global _told_at  # noqa: PLW0603  it is a fact of the process
    if time.monotonic() - _told_at >= _TELL_SECONDS:
        _told_at = time.monotonic()
        log.error("%s", error)


class EnvironmentLoader(AppLoader):  # type: ignore[misc]  # Celery has no types
    """Reads the settings when something of the configuration is first used, so that an import needs none.

    Not a receiver of `on_configure`: Celery logs what one raises, and goes on with its own default broker.
    """

    def read_configuration(self, env: str = "CELERY_CONFIG_MODULE") -> dict[str, Any]:
        """Raises ConfigurationError; what is asked for next reads again."""
        ours = _configuration(celery_broker(load_settings().redis_url))
        return {**(super().read_configuration(env) or {}), **ours}


def _configuration(broker: CeleryBroker) -> dict[str, Any]:
    return {
        "broker_url": broker.url,
        "broker_use_ssl": broker.use_ssl,
        "result_backend": None,
        "task_ignore_result": True,
        "task_store_errors_even_if_ignored": False,
        "task_serializer": "json",
        "accept_content": ["json"],
        "task_queues": [Queue(name, routing_key=name) for name in QUEUES],  # type: ignore[no-untyped-call]
        "task_routes": {step.value: {"queue": step.queue} for step in Step},
        "task_default_queue": Step.DISPATCH.queue,
        "task_create_missing_queues": False,
        # A bell that is lost with its worker is rung again by the clock, so nothing is gained by acknowledging it late.
        "task_acks_late": False,
        # Or a bell would wait for a busy process while another worker sleeps.
        "worker_disable_prefetch": True,
        "worker_prefetch_multiplier": 1,
        # A bell that cannot be rung at once is dropped: the clock rings again.
        "task_publish_retry": False,
        # Not before every lease that a drain renews has ended (`worker.runtime.draining`).
        "task_time_limit": _TASK_SECONDS,
        "task_soft_time_limit": 75,
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        "broker_connection_retry_on_startup": True,
        # A worker that gives up exits with 0, and a supervisor that restarts failures would leave it dead.
        "broker_connection_max_retries": None,
        "broker_transport_options": {
            # Or kombu would try for six seconds to reach a broker that refuses.
            "max_retries": 0,
            "visibility_timeout": 180,
            "unacked_restore_interval": 10,
            "unacked_restore_throttle": 1,
            "socket_timeout": 5,
            "socket_connect_timeout": 2,
            "socket_keepalive": True,
            "health_check_interval": 10,
            "global_keyprefix": KEY_PREFIX,
            **broker.transport_options,
        },
        "worker_max_tasks_per_child": 500,
        "worker_max_memory_per_child": 300_000,
        "worker_send_task_events": False,
    }


app = Celery(
    "darkroom",
    loader=EnvironmentLoader,
    task_cls=DrainingTask,
    include=[step.module for step in Step],
)


class WatchedLoop(bootsteps.StartStopStep):  # type: ignore[misc]  # Celery has no types
    """Ends a worker whose event loop hangs: it would begin no task, and end none whose time is over.

    There is no loop, and nothing is watched, while the broker is away: each attempt to reach it has its own limit.
    """

    requires = ("celery.worker.consumer.connection:Connection",)

    def __init__(self, consumer: Any, **options: Any) -> None:
        super().__init__(consumer, **options)
        self._watch = ExitStack()

    def start(self, consumer: Any) -> None:
        goes_on = self._watch.enter_context(watchdog.limit("a turn of the event loop", _LOOP_SECONDS))
        # Celery forgets it when the connection is lost.
        consumer.timer.call_repeatedly(1.0, goes_on)

    def stop(self, consumer: Any) -> None:  # noqa: ARG002
        self._watch.close()


app.steps["consumer"].add(WatchedLoop)


@setup_logging.connect
def _configure_logging(**_: Any) -> None:
    settings = load_settings()
    configure_logging(settings.log_level, secret_values(settings), settings.log_format)


@worker_ready.connect
def _show_life(sender: Any, **_: Any) -> None:
    """The first task may be a while away, and whoever looks meanwhile would miss this worker."""
    if is_clock(sender):
        return
    for sentence in misspelt_settings(os.environ):
        log.warning("%s", sentence)
    # Services of its own: those of the process would stay open here, for the pool has its own.
    with left_for_later("the first heartbeat"), closing(Services(load_settings())) as here:
        forget_predecessors(here.ledger, sender.hostname)
        here.ledger.maintenance.beat(sender.hostname, os.getpid(), here.limit_settings)


def is_clock(consumer: Any) -> bool:
    return any(queue.name == "control" for queue in consumer.task_consumer.queues)


def forget_predecessors(ledger: Ledger, worker: str) -> None:
    """Delete the heartbeats of those that this worker has replaced on its host."""
    if gone := [beat.worker for beat in ledger.maintenance.heartbeats() if is_gone(beat.worker, worker)]:
        ledger.maintenance.forget(gone)


#: as the Procfile names them
_NODE = re.compile(r"(?P<role>\w+)\.(?P<pid>[1-9][0-9]*)@(?P<host>.+)")


def is_gone(worker: str, successor: str) -> bool:
    """Whether it had the successor's role on the same host, and its process is no more: it was killed, or replaced."""
    old, new = _NODE.fullmatch(worker), _NODE.fullmatch(successor)
    if old is None or new is None or worker == successor or (old["role"], old["host"]) != (new["role"], new["host"]):
        return False
    try:
        os.kill(int(old["pid"]), 0)
    except (ProcessLookupError, OverflowError):
        return True
    except PermissionError:
        return False
    return False


@worker_shutting_down.connect
def _stop(sender: str, **_: Any) -> None:
    shutdown.stop()
    # Now, since it may be killed at its end; not in the handler of a signal, which interrupts whoever uses the ledger.
    threading.Thread(target=_say_that_it_ends, args=(sender,), daemon=True).start()


def _say_that_it_ends(worker: str) -> None:
    with left_for_later("the last heartbeat"), closing(Services(load_settings())) as here:
        here.ledger.maintenance.beat(worker, STOPPED, here.limit_settings)


@worker_process_shutdown.connect
def _give_back(**_: Any) -> None:
    give_back_late()


@worker_before_create_process.connect
def _share_memory(**_: Any) -> None:
    """What a pool process would import is imported before it is forked, and shared: each of them takes 20 MB less.

    Frozen, because the garbage collector would copy each page by touching it.
    """
    for module in ("worker.archive.s3", *(where.partition(":")[0] for where in PROVIDERS.values())):
        import_module(module)
    gc.collect()
    gc.freeze()
