"""P10: how long a callback waits while the broker is frozen or refused and clients drip or are silent.

    python -m tests.bench.siege [--database sqlite|postgresql] [--drippers N] [--idle N] [--seconds N] [--json]

200 callbacks a second arrive by the clock on 12 connections, whether the ones before are answered or not, and each is
timed from the moment when it should have been sent. Every one that was answered with 200 must be in the ledger.
"""

import argparse
import queue
import resource
import selectors
import signal
import socket
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import select

from tests.bench.receiver import deliveries, durable_postgres, show
from tests.webhook.dripping import Drippers
from tests.webhook.serving import served, valkey
from worker.ledger.database import Database
from worker.ledger.migrations import upgrade
from worker.ledger.schema import callbacks

CONNECTIONS = 12
PER_SECOND = 200
DRIPPERS = 40
#: clients that connect, say nothing or only that they speak HTTP/2, and come again when they are let go
IDLE = 2100
#: how a client begins that speaks HTTP/2: nothing has to follow
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"
#: seconds after which the first of them are let go; what came until then may have waited for it
FIRST = 5
GOAL_P99_MS = 250
GOAL_MAX_MS = 1000
#: seconds after which a callback counts as not answered
PATIENCE = 15


@dataclass
class Answered:
    """`latencies` in seconds, of all that were sent; those that were not answered count with the whole patience."""

    latencies: list[float] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    not_kept: int = 0

    @property
    def p99_ms(self) -> float:
        return statistics.quantiles(self.latencies, n=100)[98] * 1000

    @property
    def max_ms(self) -> float:
        return max(self.latencies) * 1000


def arrivals(port: int, seconds: float) -> Answered:
    """Callbacks at a steady rate; a connection that is lost is made anew."""
    count = int(seconds * PER_SECOND)
    attempts, requests = deliveries(count)
    start = time.perf_counter() + 0.1
    due: queue.SimpleQueue[int] = queue.SimpleQueue()
    for number in range(count):
        due.put(number)
    answered = Answered()

    def send() -> None:
        connection: socket.socket | None = None
        while True:
            try:
                number = due.get_nowait()
            except queue.Empty:
                break
            at = start + number / PER_SECOND
            time.sleep(max(0.0, at - time.perf_counter()))
            try:
                connection = connection or socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
                connection.sendall(requests[number])
                answer = connection.recv(65536)
            except OSError:
                answer = b""
            took = time.perf_counter() - at
            if answer.startswith(b"HTTP/1.1 200 "):
                answered.latencies.append(took)
                answered.kept.append(attempts[number])
            else:
                answered.latencies.append(max(took, PATIENCE))
                answered.not_kept += 1
                if connection is not None:
                    connection.close()
                    connection = None
        if connection is not None:
            connection.close()

    senders = [threading.Thread(target=send) for _ in range(CONNECTIONS)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    return answered


@contextmanager
def frozen(process: "subprocess.Popen[bytes]") -> Iterator[None]:
    process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        process.send_signal(signal.SIGCONT)


@contextmanager
def idlers(port: int, how_many: int, first: bytes) -> Iterator[None]:
    """So many clients that send `first` and then nothing, for as long as the block runs."""
    over = threading.Event()
    waiting = selectors.DefaultSelector()

    def connect() -> None:
        client = socket.socket()
        client.setblocking(False)
        client.connect_ex(("127.0.0.1", port))
        waiting.register(client, selectors.EVENT_WRITE)

    def keep_on() -> None:
        for _ in range(how_many):
            connect()
        while not over.is_set():
            for key, events in waiting.select(timeout=0.1):
                client = key.fileobj
                assert isinstance(client, socket.socket)
                try:
                    if events & selectors.EVENT_WRITE:
                        client.send(first)
                        waiting.modify(client, selectors.EVENT_READ)
                        continue
                    is_over = not client.recv(1000)
                except OSError:
                    is_over = True
                if is_over:
                    waiting.unregister(client)
                    client.close()
                    # Not at once: thousands that are turned away at once would only measure this process.
                    over.wait(0.001)
                    connect()

    thread = threading.Thread(target=keep_on, name="idlers")
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        for key in list(waiting.get_map().values()):
            assert isinstance(key.fileobj, socket.socket)
            key.fileobj.close()
        waiting.close()


def run(database: str, seconds: float, drippers: int = DRIPPERS, idle: int = IDLE) -> dict[str, object]:
    # Each client is an open file here, and the receiver may have as many as it wants.
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with ExitStack() as cleanup:
        folder = Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix="darkroom-bench-")))
        sqlite = f"sqlite:///{folder / 'ledger.sqlite3'}"
        url = sqlite if database == "sqlite" else cleanup.enter_context(durable_postgres())
        ledger = Database(url)
        cleanup.callback(ledger.close)
        upgrade(ledger)
        (folder / "broker").mkdir()
        redis_url, broker = cleanup.enter_context(valkey(folder / "broker"))
        log = folder / "log"
        server = cleanup.enter_context(served(url, redis_url=redis_url, log=log, LOG_LEVEL="ERROR"))
        refused = cleanup.enter_context(served(url, log=log, LOG_LEVEL="ERROR"))
        arrivals(server.port, 1)
        arrivals(refused.port, 1)
        rounds = {"quiet": arrivals(server.port, seconds)}
        with frozen(broker):
            rounds["broker frozen"] = arrivals(server.port, seconds)
        rounds["broker refused"] = arrivals(refused.port, seconds)
        # For longer than a header may take: some are let go and come again.
        half = drippers // 2
        with Drippers(server.port, headers=half, bodies=drippers - half) as clients:
            rounds["drippers"] = arrivals(server.port, seconds)
            with frozen(broker):
                rounds["drippers, broker frozen"] = arrivals(server.port, seconds)
        with Drippers(refused.port, headers=half, bodies=drippers - half):
            rounds["drippers, broker refused"] = arrivals(refused.port, seconds)
        for name, first in (("silent", b""), ("HTTP/2 preface", PREFACE)):
            with idlers(server.port, idle, first):
                time.sleep(FIRST)
                rounds[f"{idle} {name}"] = arrivals(server.port, seconds)
        kept = {attempt for answered in rounds.values() for attempt in answered.kept}
        with ledger.read() as connection:
            missing = kept - set(connection.scalars(select(callbacks.c.attempt_id)))
        quiet = rounds.pop("quiet")
        worst = max(rounds.values(), key=lambda answered: answered.p99_ms)
        return {
            "database": database,
            "drippers": drippers,
            "idle": idle,
            "ratio": round(worst.p99_ms / quiet.p99_ms, 1),
            "quiet_p99_ms": round(quiet.p99_ms, 1),
            "p99_ms": round(worst.p99_ms, 1),
            "goal_p99_ms": GOAL_P99_MS,
            "max_ms": round(max(answered.max_ms for answered in rounds.values()), 1),
            "goal_max_ms": GOAL_MAX_MS,
            "not_kept": sum(answered.not_kept for answered in rounds.values()),
            "acknowledged": len(kept),
            "acknowledged_but_missing": len(missing),
            "let_go": clients.let_go,
            "rounds": {name: [round(one.p99_ms, 1), round(one.max_ms, 1)] for name, one in rounds.items()},
        }


def main() -> None:
    parser = argparse.ArgumentParser(description="P10: callbacks under siege.")
    parser.add_argument("--database", choices=["sqlite", "postgresql"], default="sqlite")
    parser.add_argument("--drippers", type=int, default=DRIPPERS, help="half in their headers, half in a body")
    parser.add_argument("--idle", type=int, default=IDLE, help="so many silent ones, then so many HTTP/2 prefaces")
    parser.add_argument("--seconds", type=float, default=5.0, help="length of each of the eight measurements")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of lines")
    arguments = parser.parse_args()
    result = run(arguments.database, arguments.seconds, arguments.drippers, arguments.idle)
    show(result, as_json=arguments.json)


if __name__ == "__main__":
    main()
