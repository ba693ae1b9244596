"""What can happen to a machine."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial

import psutil
import redis

from tests.chaos.databases import LOCKED_SECONDS, SILENT_SECONDS
from tests.chaos.gate import Mode
from tests.chaos.machine import Machine
from tests.chaos.plan import Fault, Planned

#: seconds: longer than any client of ours waits for the broker
FROZEN_SECONDS = 35
#: seconds: longer than PostgreSQL keeps a transaction in which nothing happens, and than a writer of SQLite waits
STOPPED_SECONDS = 20
#: seconds in which a process begins a transaction, also one that waits on a connection which fell silent
_SEARCH_SECONDS = SILENT_SECONDS
#: seconds for which a provider or the S3 server does wrong
WINDOW_SECONDS = 3.0

#: what a strike does, given a number from 0 to 1 that chooses its victim
Strike = Callable[[Machine, float], None]


def kill_group(machine: Machine, _: float, *, name: str) -> None:
    """As when its container is taken away: the process and all that it has started, at once."""
    for process in machine.processes(name):
        with suppress(psutil.NoSuchProcess):
            for one in (process, *process.children(recursive=True)):
                with suppress(psutil.NoSuchProcess):
                    one.kill()


def kill_child(machine: Machine, luck: float, *, name: str) -> None:
    """As the kernel does it when memory is short."""
    for children in machine.children(name):
        with suppress(psutil.NoSuchProcess):
            children[int(luck * len(children))].kill()


def stop_in_transaction(machine: Machine, luck: float, *, find: Callable[[Machine], Sequence[psutil.Process]]) -> None:
    """As when its machine is paused at the worst moment; it goes on afterwards as if nothing had been."""
    give_up_at = time.monotonic() + _SEARCH_SECONDS
    turn = int(luck * 100)
    while time.monotonic() < give_up_at:
        turn += 1
        with suppress(psutil.NoSuchProcess):
            processes = find(machine)
            process = processes[turn % len(processes)]
            process.suspend()
            try:
                if machine.database.holds_transaction(process.pid):
                    time.sleep(STOPPED_SECONDS)
                    return
            finally:
                process.resume()
        # Not in step with anything that comes each second.
        time.sleep(0.013)
    raise TimeoutError(f"no transaction was met within {_SEARCH_SECONDS:g} s")


def silence_database(machine: Machine, _: float) -> None:
    machine.database.fall_silent()


def flush_broker(machine: Machine, _: float) -> None:
    machine.broker()
    with redis.Redis.from_url(machine.env["REDIS_URL"]) as client:
        client.flushall()


def lose_broker(machine: Machine, _: float) -> None:
    broker = machine.broker()
    broker.kill()
    broker.wait()
    machine.forget_queue()


def freeze_broker(machine: Machine, _: float) -> None:
    broker = machine.broker()
    broker.suspend()
    time.sleep(FROZEN_SECONDS)
    broker.resume()


def hurt_database(machine: Machine, _: float) -> None:
    machine.database.hurt()


def hurt_bucket(machine: Machine, _: float, *, mode: Mode) -> None:
    machine.gate.set(mode)
    time.sleep(WINDOW_SECONDS)
    machine.gate.set(Mode.OPEN)


def hurt_provider(machine: Machine, _: float, **knobs: float) -> None:
    machine.set_provider_faults(knobs)
    time.sleep(WINDOW_SECONDS)
    machine.set_provider_faults({})


_BACK, _WINDOW = 5.0, WINDOW_SECONDS + 1
# The search takes a moment, unless connections are silent: then nothing is lost if another fault comes in between.
_STOPPED = STOPPED_SECONDS + 20
# Of the submissions in a window some go well, or the circuit breaker would keep all others out of the next ones.
_LOST_BROKER = (Fault("the broker is killed and comes back empty", "broker", _BACK), lose_broker)
_KILLED_WORKERS = (
    (Fault("the worker and its pool are killed", "worker", _BACK), partial(kill_group, name="worker")),
    (Fault("one process of the worker's pool is killed", "worker", _BACK), partial(kill_child, name="worker")),
)
STRIKES: Mapping[Fault, Strike] = dict([
    *_KILLED_WORKERS,
    (Fault("the receiver is killed", "web", _BACK), partial(kill_group, name="web")),
    (Fault("one process of the receiver is killed", "web", _BACK), partial(kill_child, name="web")),
    (Fault("the clock is killed", "clock", _BACK), partial(kill_group, name="clock")),
    (Fault("the broker is flushed", "broker", 1), flush_broker),
    _LOST_BROKER,
    (Fault(f"the broker is frozen for {FROZEN_SECONDS} s", "broker", FROZEN_SECONDS + 2, often=1), freeze_broker),
    (Fault("the database is restarted or locked", "database", LOCKED_SECONDS + 8, often=2), hurt_database),
    (Fault("connections to the database fall silent", "connections", SILENT_SECONDS, often=1), silence_database),
    (Fault("a process of the worker is stopped inside a transaction", "worker", _STOPPED, often=1),
     partial(stop_in_transaction, find=lambda machine: machine.children("worker")[0])),
    (Fault("the clock is stopped inside a transaction", "clock", _STOPPED, often=1),
     partial(stop_in_transaction, find=lambda machine: machine.processes("clock"))),
    (Fault("the S3 server answers 503", "bucket", _WINDOW), partial(hurt_bucket, mode=Mode.REFUSING)),
    (Fault("the S3 server hangs", "bucket", _WINDOW), partial(hurt_bucket, mode=Mode.HANGING)),
    (Fault("the provider answers 429", "provider", _WINDOW), partial(hurt_provider, too_many=1)),
    (Fault("the provider answers 500, taken or not", "provider", _WINDOW),
     partial(hurt_provider, error_before=0.15, error_after=0.15)),
    (Fault("the provider hangs", "provider", _WINDOW, often=2), partial(hurt_provider, hang=0.25)),
    (Fault("the provider resets connections", "provider", _WINDOW), partial(hurt_provider, reset=0.3)),
    (Fault("the provider calls nobody back", "provider", _WINDOW), partial(hurt_provider, drop=1)),
])  # fmt: skip
#: what has always been said to lose tasks: workers that die, and a broker without a memory
KILLS = [fault for fault, _ in (*_KILLED_WORKERS, _LOST_BROKER)]


class Strikes:
    """Carries out a plan, each fault in a thread of its own, since some last while others strike."""

    def __init__(self, machine: Machine, say: Callable[[str], None]) -> None:
        self.struck: Counter[str] = Counter()
        self.missed: list[str] = []
        self._machine = machine
        self._say = say
        self._lock = threading.Lock()

    def carry_out(self, planned: Sequence[Planned], wait: Callable[[Planned], None]) -> None:
        """`wait` returns when it is time for the next; ends when the last fault is over."""
        threads = []
        for one in planned:
            wait(one)
            self._say(one.fault.name)
            threads.append(threading.Thread(target=self._strike, args=(one,), name=one.fault.name, daemon=True))
            threads[-1].start()
        for thread in threads:
            thread.join()

    def _strike(self, one: Planned) -> None:
        try:
            STRIKES[one.fault](self._machine, one.luck)
        except Exception as error:
            with self._lock:
                self.missed.append(f'"{one.fault.name}" did not strike: {error}')
        else:
            with self._lock:
                self.struck[one.fault.name] += 1
