"""What can happen to a machine, and in which order it happens."""

import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import partial

import psutil
import redis

from tests.chaos.machine import Machine

FROZEN_SECONDS = 5


def kill_group(machine: Machine, name: str) -> None:
    """As when its container is taken away: the process and all that it has started, at once."""
    process = machine.process(name)
    for one in (process, *process.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            one.kill()


def kill_child(machine: Machine, name: str) -> None:
    """As the kernel does it when memory is short."""
    with suppress(psutil.NoSuchProcess):
        machine.child_of(name).kill()


def flush_broker(machine: Machine) -> None:
    machine.process("broker")
    with redis.Redis.from_url(machine.env["REDIS_URL"]) as client:
        client.flushall()


def lose_broker(machine: Machine) -> None:
    broker = machine.process("broker")
    broker.kill()
    broker.wait()
    machine.forget_queue()


def freeze_broker(machine: Machine) -> None:
    broker = machine.process("broker")
    broker.suspend()
    time.sleep(FROZEN_SECONDS)
    broker.resume()


FAULTS: Mapping[str, Callable[[Machine], None]] = {
    "the worker and its pool are killed": partial(kill_group, name="worker"),
    "one process of the worker's pool is killed": partial(kill_child, name="worker"),
    "the receiver is killed": partial(kill_group, name="web"),
    "one process of the receiver is killed": partial(kill_child, name="web"),
    "the clock is killed": partial(kill_group, name="clock"),
    "the broker is flushed": flush_broker,
    "the broker is killed and comes back empty": lose_broker,
    f"the broker is frozen for {FROZEN_SECONDS} s": freeze_broker,
}


def schedule(count: int, chance: random.Random) -> Iterator[str]:
    """Each fault once before any comes again, in an order of chance."""
    names: list[str] = []
    for _ in range(count):
        if not names:
            names = chance.sample(list(FAULTS), len(FAULTS))
        yield names.pop()
