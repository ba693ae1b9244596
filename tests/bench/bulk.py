"""P11: how long a callback waits while a person creates, steers, cancels and retries 50,000 generations.

    python -m tests.bench.bulk [--database sqlite|postgresql] [--count N] [--json]

A callback arrives each 50 ms while the commands run one after the other: `submit --file`, the same file once more,
`batch pause`, `batch reprioritize`, `batch resume`, `batch cancel`, `retry --failed --batch`. Each command notes its
longest transaction that writes: for so long it holds SQLite's only writer, or locks in PostgreSQL.
"""

import argparse
import http.client
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import event, text
from sqlalchemy.engine import Engine
from sqlalchemy.pool import Pool

from tests.bench.receiver import durable_postgres, show
from tests.webhook.receiving import new_attempt, path_of
from tests.webhook.serving import REFUSED_BROKER, served
from worker.ledger.database import Database
from worker.ledger.migrations import upgrade

COUNT = 50_000
#: seconds between two callbacks
PAUSE = 0.05
#: seconds after which a callback counts as not answered
PATIENCE = 15
GOAL_CALLBACK_MS = 1000
GOAL_HOLD_MS = {"sqlite": 250, "postgresql": 1000}
_ENTRY = "from tests.bench.bulk import command; command()"
# All have failed, each after one attempt.
_FAIL = (
    (
        "INSERT INTO attempts (id, generation_id, provider, account, number, state, sent_at, lease_until, settled_at) "
        "SELECT 'at' || id, id, provider, 'default', 1, 'failed', created_at, created_at, created_at FROM generations"
    ),
    "UPDATE generations SET state = 'failed', tries = 1, reason = 'forbidden', finished_at = created_at",
)


@dataclass
class Callbacks:
    """`longest`: in seconds, of those that were answered with 200."""

    longest: float = 0
    answered: int = 0
    refused: int = 0
    stopped: threading.Event = field(default_factory=threading.Event)

    def arrive(self, port: int) -> None:
        while not self.stopped.wait(PAUSE):
            started = time.perf_counter()
            status = _call_back(port)
            self.answered += status == http.client.OK
            self.refused += status != http.client.OK
            self.longest = max(self.longest, time.perf_counter() - started)


def _call_back(port: int) -> int | None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    attempt = new_attempt()
    body = json.dumps({"task_id": attempt, "success": True})
    with suppress(OSError):
        try:
            connection.request("POST", path_of(attempt), body, {"Content-Type": "application/json"})
            return connection.getresponse().status
        finally:
            connection.close()
    return None


@contextmanager
def called_back(port: int) -> Iterator[Callbacks]:
    callbacks = Callbacks()
    thread = threading.Thread(target=callbacks.arrive, args=(port,))
    thread.start()
    try:
        yield callbacks
    finally:
        callbacks.stopped.set()
        thread.join()


def command() -> None:
    """Run `darkroom` with the arguments of this process; the longest hold, in seconds, goes into the file HOLD."""
    longest = began = 0.0

    @event.listens_for(Engine, "begin")
    def begin(connection: object) -> None:
        nonlocal began
        options = connection.get_execution_options()  # type: ignore[attr-defined]
        began = time.perf_counter() if options.get("write") else 0.0

    @event.listens_for(Pool, "checkin")
    def end(*_: object) -> None:
        nonlocal longest, began
        longest = max(longest, time.perf_counter() - began if began else 0.0)
        began = 0.0

    from tasks.cli import main  # noqa: PLC0415

    try:
        main()
    finally:
        Path(os.environ["HOLD"]).write_text(str(longest))


def run(database: str, count: int = COUNT) -> dict[str, object]:
    with ExitStack() as cleanup:
        folder = Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix="darkroom-bench-")))
        sqlite = f"sqlite:///{folder / 'ledger.sqlite3'}"
        url = sqlite if database == "sqlite" else cleanup.enter_context(durable_postgres())
        ledger = Database(url)
        cleanup.callback(ledger.close)
        upgrade(ledger)
        server = cleanup.enter_context(served(url, LOG_LEVEL="ERROR"))
        prompts = folder / "prompts.jsonl"
        lines = (json.dumps({"prompt": f"fox {number}", "key": f"fox {number}"}) for number in range(count))
        prompts.write_text("\n".join(lines))
        env = {
            **os.environ,
            "DATABASE_URL": url,
            "REDIS_URL": REFUSED_BROKER,
            "DARKROOM_DATA": str(folder),
            "ACEDATACLOUD_API_TOKEN": "any",
            "HOLD": str(folder / "hold"),
        }
        #: seconds, longest callback and longest hold in milliseconds
        rounds: dict[str, list[float]] = {}
        refused = 0
        for name, arguments in {
            "create": ("submit", "--file", str(prompts), "--batch", "big"),
            "again": ("submit", "--file", str(prompts), "--batch", "big"),
            "pause": ("batch", "pause", "big"),
            "reprioritize": ("batch", "reprioritize", "big", "5"),
            "resume": ("batch", "resume", "big"),
            "cancel": ("batch", "cancel", "big"),
            "retry": ("retry", "--failed", "--batch", "big"),
        }.items():
            if name == "retry":
                with ledger.write() as connection:
                    if not ledger.is_sqlite:
                        connection.execute(text("SET LOCAL statement_timeout = 0"))
                    for statement in _FAIL:
                        connection.execute(text(statement))
            started = time.perf_counter()
            with called_back(server.port) as callbacks:
                run_it = [sys.executable, "-c", _ENTRY, *arguments]
                ended = subprocess.run(run_it, env=env, capture_output=True, check=False)
            if ended.returncode:
                raise SystemExit(f"darkroom {name} has failed: {ended.stderr.decode()}")
            took = time.perf_counter() - started
            hold = float((folder / "hold").read_text())
            rounds[name] = [round(took, 1), round(callbacks.longest * 1000), round(hold * 1000)]
            refused += callbacks.refused
        with ledger.read() as connection:
            queued = connection.execute(text("SELECT count(*) FROM generations WHERE state = 'queued'")).scalar_one()
        if queued != count:
            raise SystemExit(f"{queued} of {count} generations are queued in the end")
        return {
            "database": database,
            "count": count,
            "callback_ms": max(callback for _, callback, _ in rounds.values()),
            "goal_callback_ms": GOAL_CALLBACK_MS,
            "hold_ms": max(hold for *_, hold in rounds.values()),
            "goal_hold_ms": GOAL_HOLD_MS[database],
            "refused": refused,
            "rounds": rounds,
        }


def main() -> None:
    parser = argparse.ArgumentParser(description="P11: callbacks while a person decides about very many.")
    parser.add_argument("--database", choices=["sqlite", "postgresql"], default="sqlite")
    parser.add_argument("--count", type=int, default=COUNT, help="generations")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of lines")
    arguments = parser.parse_args()
    show(run(arguments.database, arguments.count), as_json=arguments.json)


if __name__ == "__main__":
    main()
