"""P3: CPU per generation ÷ CPU of a chain of three null Celery tasks. P6: generations per second."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import NamedTuple

import psutil
import redis
from celery import Celery

from tests.bench.machine import Machine, cpu_seconds, machine
from tests.bench.receiver import valkey
from worker.generation import GenerationRequest, Operation, State
from worker.ledger.generations import NewGeneration
from worker.steps import Step
from worker.wakeup import ring

#: seconds, also on a busy machine
_PATIENCE = 1200


def cpu_per_generation(count: int) -> float:
    """Seconds of CPU from creation to archive, for pictures of about 1 kB that the provider gives at once."""
    # Thumbnails follow later, and have a row of their own.
    settings = {"ACEDATACLOUD_RATE": "1000", "ACEDATACLOUD_IN_FLIGHT": "1000", "DARKROOM_THUMBNAILS": "false"}
    with machine(os.environ, **settings) as running:
        archive(running, 50)
        before = running.cpu_seconds() + time.process_time()
        archive(running, count)
        return (running.cpu_seconds() + time.process_time() - before) / count


def seconds_for(count: int) -> float:
    """From creation to the last archive, where provider, broker and S3 server share the machine."""
    with machine(os.environ, delay=0, ACEDATACLOUD_RATE="1000", ACEDATACLOUD_IN_FLIGHT="1000") as running:
        archive(running, 50)
        began = time.monotonic()
        archive(running, count)
        return time.monotonic() - began


def archive(running: Machine, count: int) -> None:
    ledger = running.services.ledger
    requests = (
        GenerationRequest(operation=Operation.IMAGINE, prompt=f"tiny: number {number}") for number in range(count)
    )
    made = ledger.generations.create(
        [NewGeneration(provider="acedata", request=request) for request in requests], "bench"
    )
    batch = str(made[0].batch_id)
    ring(Step.DISPATCH)
    deadline = time.monotonic() + _PATIENCE
    while ledger.generations.counts(batch) != {State.ARCHIVED: count}:
        if time.monotonic() > deadline:
            raise SystemExit(f"not archived after {_PATIENCE} s: {ledger.generations.counts(batch)}")
        time.sleep(0.2)


class NullChains(NamedTuple):
    #: seconds for each; broker and producer included
    cpu: float
    per_second: float


@cache
def null_chains(count: int) -> NullChains:
    """Three Celery tasks that do nothing but send the next one; once, because their app keeps to its first broker."""
    with tempfile.TemporaryDirectory() as folder, valkey(Path(folder) / "broker") as url, _worker(url) as worker:
        from tests.bench.null_chain import app  # noqa: PLC0415  it reads the broker's URL when it is imported

        broker = redis.Redis.from_url(url)
        server = psutil.Process(int(broker.info("server")["process_id"]))
        _chains(app, broker, 50)
        before, began = _used(worker, server), time.monotonic()
        _chains(app, broker, count)
        return NullChains((_used(worker, server) - before) / count, count / (time.monotonic() - began))


def _chains(app: Celery, broker: "redis.Redis", count: int) -> None:
    done = int(broker.get("done") or 0) + count
    for _ in range(count):
        app.send_task("first")
    deadline = time.monotonic() + _PATIENCE
    while int(broker.get("done") or 0) < done and time.monotonic() < deadline:
        time.sleep(0.05)


def _used(worker: subprocess.Popen[bytes], server: psutil.Process) -> float:
    tree = [psutil.Process(worker.pid), *psutil.Process(worker.pid).children(recursive=True), server]
    return sum(cpu_seconds(one) for one in tree) + time.process_time()


@contextmanager
def _worker(url: str) -> Iterator[subprocess.Popen[bytes]]:
    os.environ["NULL_CHAIN_BROKER"] = url
    command = [sys.executable, "-m", "celery", "-A", "tests.bench.null_chain", "worker", "-P", "prefork", "-c", "2"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.terminate()
            process.wait(20)
