"""The Celery application (`celery -A worker`). Messages are only wake-ups: the ledger has the work.

Configured on first use: importing this module reads no settings.
"""

import gc
import logging
import math
import os
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
    celeryd_after_setup,
    setup_logging,
    worker_before_create_process,
    worker_process_shutdown,
    worker_ready,
    worker_shutting_down,
)
from kombu.entity import Queue

from worker.errors import ConfigurationError, LedgerUnavailable, VersionTooOld
from worker.ledger.maintenance import STOPPED
from worker.providers import PROVIDERS
from worker.runtime import give_back_late, shutdown, watchdog
from worker.secrets import configure_logging
from worker.services import Services, secret_values, services
from worker.settings import CeleryBroker, celery_broker, load_settings, misspelt_settings
from worker.steps import FOREIGN_TASKS, KEY_PREFIX, QUEUES, REQUEST_QUEUE, Step

log = logging.getLogger(__name__)

# The warning is about pickled messages, which our workers never read.
warnings.filterwarnings("ignore", message="You're running the worker with superuser", category=SecurityWarning)

HEARTBEAT_SECONDS = 10
#: seconds between the heartbeats of a worker that may be idle
IDLE_SECONDS = 30
#: seconds after which a pool's parent kills a task's process
_TASK_SECONDS = 90
#: seconds after which a process ends itself: nothing else does if it has no pool, or if its parent is busy with an
#: unreachable broker
_LAST_SECONDS = _TASK_SECONDS + 5
#: seconds after which an event loop counts as hung; without a pool it also runs the tasks
_LOOP_SECONDS = _LAST_SECONDS + 25

#: seconds between two log lines of a process that is too old
_TELL_SECONDS = 600

#: the queue of requests, by the name that other applications use; messages that a lost worker had taken from it are
#: put back under this name with our prefix
_REQUESTS_PUT_BACK = f"{KEY_PREFIX}{REQUEST_QUEUE}"


class DrainingTask(Task):  # type: ignore[misc]  # Celery has no types
    """Base of every task: writes the heartbeat, and postpones work quietly if the ledger is unavailable.

    Celery retries nothing: the sweep finds work that is still due.
    """

    #: False in the clock's process, which reports after its passes
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


class RequestTask(Task):  # type: ignore[misc]  # Celery has no types
    """Base of a task whose message is the work: acknowledged once the ledger has it, or it was refused."""

    acks_late = True
    reject_on_worker_lost = True

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        with watchdog.limit(f"the task {self.name}", _LAST_SECONDS):
            # Not the superclass's method: a wrong argument may have the name of one of that method's own parameters.
            return self.run(*args, **kwargs)


@contextmanager
def left_for_later(name: str) -> Iterator[None]:
    """Log why the block could not do its work, in one sentence: an unavailable ledger, a wrong setting."""
    try:
        yield
    except LedgerUnavailable as error:
        log.warning("%s: postponed: %s", name, error)
    except VersionTooOld as error:
        tell_rarely(error)
    except ConfigurationError as error:
        log.error("%s: cannot run: %s", name, error)  # noqa: TRY400  a user's mistake needs no traceback


_told_at = -math.inf


def tell_rarely(error: VersionTooOld) -> None:
    """Log the error rarely: every wake-up raises it again until this process is replaced."""
    global _told_at  # noqa: PLW0603  it is a fact of the process
    if time.monotonic() - _told_at >= _TELL_SECONDS:
        _told_at = time.monotonic()
        log.error("%s", error)


class EnvironmentLoader(AppLoader):  # type: ignore[misc]  # Celery has no types
    """Reads the settings when the configuration is first used, so that imports need none.

    Not an `on_configure` receiver: Celery would log its error and continue with the default broker.
    """

    def read_configuration(self, env: str = "CELERY_CONFIG_MODULE") -> dict[str, Any]:
        """Return the configuration. Raises ConfigurationError; the next use reads the settings again."""
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
        "task_queues": [
            Queue(name, routing_key=name)  # type: ignore[no-untyped-call]
            for name in (*QUEUES, REQUEST_QUEUE, _REQUESTS_PUT_BACK)
        ],
        "task_routes": {
            **{step.value: {"queue": step.queue} for step in Step},
            **{name: {"queue": REQUEST_QUEUE} for name in FOREIGN_TASKS},
        },
        "task_default_queue": Step.DISPATCH.queue,
        "task_create_missing_queues": False,
        # The sweep replaces a wake-up lost with its worker, so late acknowledgement gains nothing.
        "task_acks_late": False,
        # Otherwise a wake-up could wait for a busy process while another worker is idle.
        "worker_disable_prefetch": True,
        "worker_prefetch_multiplier": 1,
        # A wake-up that cannot be sent at once is dropped: the sweep sends another.
        "task_publish_retry": False,
        # Not until every lease that a drain renews has ended (`worker.runtime.draining`).
        "task_time_limit": _TASK_SECONDS,
        "task_soft_time_limit": 75,
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        "broker_connection_retry_on_startup": True,
        # A worker that gives up exits with 0, and a supervisor that restarts only failures would not restart it.
        "broker_connection_max_retries": None,
        "broker_transport_options": {
            # Otherwise kombu would try for six seconds to reach a broker that refuses connections.
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
    include=[*(step.module for step in Step), "tasks.create", "tasks.picking"],
)


class WatchedLoop(bootsteps.StartStopStep):  # type: ignore[misc]  # Celery has no types
    """Ends a worker with a hung event loop, which could neither start tasks nor end them at their time limits.

    While the broker is unreachable there is no loop to watch: each connection attempt has its own limit.
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


class IdleHeartbeat(bootsteps.StartStopStep):  # type: ignore[misc]  # Celery has no types
    """Writes the heartbeat of a worker without tasks while its event loop is running.

    A ping reaches only one worker that serves its queue: never a worker of another queue, and each of many idle ones
    only rarely.
    """

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def __init__(self, consumer: Any, **options: Any) -> None:
        super().__init__(consumer, **options)
        self._thread: threading.Thread | None = None

    def start(self, consumer: Any) -> None:
        if not is_clock(consumer):
            # Celery forgets it when the connection is lost.
            consumer.timer.call_repeatedly(IDLE_SECONDS, self._beat, (consumer.hostname,))

    def _beat(self, worker: str) -> None:
        # The event loop must not wait for the ledger, and one thread that waits for it is enough.
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=_say_that_it_lives, args=(worker,), name="heartbeat", daemon=True)
            self._thread.start()


app.steps["consumer"].add(WatchedLoop)
app.steps["consumer"].add(IdleHeartbeat)


@setup_logging.connect
def _configure_logging(**_: Any) -> None:
    settings = load_settings()
    configure_logging(settings.log_level, secret_values(settings), settings.log_format)


@celeryd_after_setup.connect
def _take_what_was_put_back(instance: Any, **_: Any) -> None:
    queues = instance.app.amqp.queues
    if REQUEST_QUEUE in queues.consume_from:
        queues.select_add(queues[_REQUESTS_PUT_BACK])


@worker_ready.connect
def _show_life(sender: Any, **_: Any) -> None:
    """Write a heartbeat now: the first task may be a while away, and until then this worker would appear missing."""
    if is_clock(sender):
        return
    for sentence in misspelt_settings(os.environ):
        log.warning("%s", sentence)
    # Separate services: the process's would stay open here, although the pool has its own.
    with left_for_later("the first heartbeat"), closing(Services(load_settings())) as here:
        here.ledger.maintenance.forget_predecessors(sender.hostname)
        here.ledger.maintenance.beat(sender.hostname, os.getpid(), here.limit_settings)


def is_clock(consumer: Any) -> bool:
    return any(queue.name == "control" for queue in consumer.task_consumer.queues)


@worker_shutting_down.connect
def _stop(sender: str, **_: Any) -> None:
    shutdown.stop()
    # Now, because it may be killed as it ends; not in a signal handler, which could interrupt a use of the ledger.
    threading.Thread(target=_say_that_it_ends, args=(sender,), daemon=True).start()


#: without it, a heartbeat that is still being written could follow the last one
_heartbeat = threading.Lock()


def _say_that_it_lives(worker: str) -> None:
    with left_for_later("a heartbeat"), closing(Services(load_settings())) as here, _heartbeat:
        if not shutdown.is_asked():
            here.ledger.maintenance.beat(worker, os.getpid(), here.limit_settings)


def _say_that_it_ends(worker: str) -> None:
    with left_for_later("the last heartbeat"), closing(Services(load_settings())) as here, _heartbeat:
        here.ledger.maintenance.beat(worker, STOPPED, here.limit_settings)


@worker_process_shutdown.connect
def _give_back(**_: Any) -> None:
    give_back_late()


@worker_before_create_process.connect
def _share_memory(**_: Any) -> None:
    """Before the fork, import what pool processes need, so that they share it: saves 20 MB each.

    The objects are frozen, because the garbage collector would copy each page by touching it.
    """
    for module in ("worker.archive.s3", *(where.partition(":")[0] for where in PROVIDERS.values())):
        import_module(module)
    gc.collect()
    gc.freeze()
    # Tasks create few reference cycles, and their objects are freed at the end: a collection every 700 objects costs
    # 5 %.
    gc.set_threshold(20_000, 20, 50)
