"""P12: how long the HTTP API takes for one generation while many wait, many ask, and callbacks arrive.

    python -m tests.bench.api [--database sqlite|postgresql] [--seconds N] [--json]

64 clients hold a request with `?wait=30` open, 200 ask once a second for one generation each, and the receiver gets 200
callbacks a second on the same ledger. Each request is timed from the moment when it should have been sent.
"""

import argparse
import multiprocessing
import selectors
import socket
import statistics
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.bench.pulse import pulse
from tests.bench.receiver import durable_postgres, show
from tests.bench.siege import arrivals
from tests.factories import queued
from tests.webhook.api.serving import served as served_api
from tests.webhook.serving import served, valkey
from worker.ledger import Ledger
from worker.ledger.migrations import upgrade

WAITERS = 64
CLIENTS = 200
GOAL_P99_MS = 50
GOAL_MEMORY_MB = 70
#: seconds between two requests of a client
_INTERVAL = 1.0
_WAIT = 30
#: seconds in which those who wait have their places; they come at once, and are measured while they wait
_SETTLING = 1.0


@dataclass
class Asked:
    """`latencies` of those that ask, in seconds, by when each was due.

    `refused`: answers that are no 200; `waited`: answers to waiters.
    """

    latencies: list[tuple[float, float]] = field(default_factory=list)
    refused: int = 0
    waited: int = 0


class _Connection:
    def __init__(self, port: int, path: str) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=_WAIT + 10)
        self.request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()
        self.due_at = 0.0
        self.is_waiting = False
        self._answer = b""

    def send(self) -> None:
        self._answer, self.is_waiting = b"", True
        self.socket.sendall(self.request)

    def receive(self) -> int | None:
        """The status, once the answer is whole."""
        piece = self.socket.recv(262144)
        if not piece:
            raise ConnectionError("the API closed a connection")
        self._answer += piece
        head, separator, body = self._answer.partition(b"\r\n\r\n")
        length = next(
            (int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0
        )
        if not separator or len(body) < length:
            return None
        self.is_waiting = False
        return int(head[9:12])


def ask(port: int, asked_for: list[str], waited_for: list[str], seconds: float) -> Asked:
    """Clients and waiters on connections of their own."""
    asked = Asked()
    waiters = [_Connection(port, f"/v1/generations/{id_}?wait={_WAIT}") for id_ in waited_for]
    clients = [_Connection(port, f"/v1/generations/{id_}") for id_ in asked_for]
    those = set(waiters)
    with selectors.DefaultSelector() as selector:
        for one in (*waiters, *clients):
            selector.register(one.socket, selectors.EVENT_READ, one)
        for one in waiters:
            one.send()
        start = time.perf_counter() + _SETTLING
        for number, one in enumerate(clients):
            one.due_at = start + number * _INTERVAL / CLIENTS
        while (now := time.perf_counter()) < start + seconds or any(one.is_waiting for one in clients):
            for one in clients:
                if not one.is_waiting and one.due_at <= now < start + seconds:
                    one.send()
            next_at = min((one.due_at for one in clients if not one.is_waiting), default=now + 0.01)
            for key, _ in selector.select(timeout=min(0.01, max(0.0, next_at - now))):
                _take(key.data, asked, is_waiter=key.data in those)
    for one in (*waiters, *clients):
        one.socket.close()
    return asked


def _take(one: _Connection, asked: Asked, *, is_waiter: bool) -> None:
    if (status := one.receive()) is None:
        return
    if is_waiter:
        asked.waited += 1
        one.send()
        return
    asked.latencies.append((one.due_at, time.perf_counter() - one.due_at))
    asked.refused += status != 200
    one.due_at = max(one.due_at + _INTERVAL, time.perf_counter())


def _p99(latencies: list[float]) -> float:
    return statistics.quantiles(latencies, n=100)[98]


def run(database: str, seconds: float) -> dict[str, object]:
    with ExitStack() as cleanup:
        folder = Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix="darkroom-bench-")))
        sqlite = f"sqlite:///{folder / 'ledger.sqlite3'}"
        url = sqlite if database == "sqlite" else cleanup.enter_context(durable_postgres())
        ledger = Ledger(url)
        cleanup.callback(ledger.close)
        upgrade(ledger.database)
        generations = [one.id for one in queued(ledger, WAITERS + CLIENTS)]
        redis_url = cleanup.enter_context(valkey(folder / "broker"))[0]
        receiver = cleanup.enter_context(served(url, redis_url=redis_url, LOG_LEVEL="WARNING"))
        address, process = cleanup.enter_context(served_api(url, REDIS_URL=redis_url, LOG_LEVEL="WARNING"))
        port = int(address.rpartition(":")[2])
        # In a process of its own: one interpreter for both would make each wait for the other's load.
        sender = cleanup.enter_context(ProcessPoolExecutor(1, multiprocessing.get_context("spawn")))
        # Which imports what it needs, and lets the receiver make its connections.
        sender.submit(arrivals, receiver.port, 0.5).result()
        waited_for, asked_for = generations[:WAITERS], generations[WAITERS:]
        # A moment of load first: connections and caches are made once. Without waiters: each keeps its place until its
        # time is over, also when its client has gone, and there are no more than `WAITERS`.
        ask(port, asked_for, [], 2.0)
        with pulse() as machine:
            sending = sender.submit(arrivals, receiver.port, seconds)
            asked = ask(port, asked_for, waited_for, seconds)
            callbacks = sending.result()
        memory = psutil.Process(process.pid).memory_full_info().pss / 1e6
    latencies = [latency * 1000 for _, latency in asked.latencies]
    steady = [latency * 1000 for at, latency in asked.latencies if machine.is_steady(at)]
    return {
        "database": database,
        "requests": len(latencies),
        "p50_ms": round(statistics.median(latencies), 1),
        "p99_ms": round(_p99(latencies), 1),
        "max_ms": round(max(latencies), 1),
        "steady_p99_ms": round(_p99(steady), 1),
        "steady_requests": len(steady),
        "machine_slow_percent": round(machine.slow_share * 100),
        "refused": asked.refused,
        "answered_waiters": asked.waited,
        "callback_p99_ms": round(callbacks.p99_ms, 1),
        "callbacks_not_kept": callbacks.not_kept,
        "memory_mb": round(memory),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="P12: the HTTP API beside callbacks.")
    parser.add_argument("--database", choices=["sqlite", "postgresql"], default="sqlite")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--json", action="store_true", help="one JSON document instead of lines")
    arguments = parser.parse_args()
    show(run(arguments.database, arguments.seconds), as_json=arguments.json)


if __name__ == "__main__":
    main()
