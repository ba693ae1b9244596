"""Kill processes and servers while generations run, and see that nothing is lost and nothing is paid twice.

    python -m tests.chaos [--generations N] [--faults N] [--seed N] [--database sqlite|postgresql] [--json]

The seed decides what is hurt in which order, and what the pretend provider does wrong. The exit code is 0 if nothing
was lost or paid twice; otherwise the folder with the ledger, the bucket and the processes' output is kept.
"""

import argparse
import json
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests import postgres
from tests.chaos import machine
from tests.chaos.audit import Findings, audit, is_settled
from tests.chaos.faults import FAULTS, schedule
from worker.errors import LedgerUnavailable
from worker.generation import GenerationRequest, Operation
from worker.ledger import Ledger
from worker.ledger.creation import NewGeneration

#: seconds between two faults, least and most
PAUSE = (1.0, 4.0)
#: seconds after the last fault in which everything must have found its end
PATIENCE = 90
#: each so many-th generation asks for a follow-up
FOLLOWED = 6


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__.partition("\n")[0])
    parser.add_argument("--generations", type=int, default=120, metavar="N")
    parser.add_argument("--faults", type=int, default=12, metavar="N")
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    parser.add_argument("--database", choices=["sqlite", "postgresql"], default="sqlite")
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="darkroom-chaos-"))
    with database(chosen.database, folder) as url:
        findings, seconds = run(folder, url, chosen.generations, chosen.faults, random.Random(chosen.seed))
    facts = {"faults": chosen.faults, **asdict(findings), "seconds_after_last_fault": round(seconds, 1)}
    complaints = facts.pop("complaints")
    if chosen.json:
        print(json.dumps(facts))
    else:
        print("\n".join(f"{name:<25}{value:>8}" for name, value in facts.items()))
    if findings.nothing_is_wrong:
        shutil.rmtree(folder)
        return 0
    print(*complaints, f"everything is kept in {folder}", sep="\n", file=sys.stderr)
    return 1


@contextmanager
def database(kind: str, folder: Path) -> Iterator[str]:
    """The URL of an empty database; TEST_DATABASE_URL may name the PostgreSQL server."""
    if kind == "sqlite":
        yield f"sqlite:///{folder / 'ledger.sqlite3'}"
        return
    name = f"chaos_{os.getpid()}"
    if given := os.environ.get("TEST_DATABASE_URL"):
        server = postgres.Postgres(given)
        server.create(name)
        try:
            yield server.url(name)
        finally:
            server.drop(name)
        return
    binaries = postgres.bundled_binaries()
    if binaries is None:
        sys.exit("there is no PostgreSQL: set TEST_DATABASE_URL, or install the extra `dev`")
    with postgres.running_server(binaries) as server:
        server.create(name)
        yield server.url(name)


def run(folder: Path, url: str, generations: int, faults: int, chance: random.Random) -> tuple[Findings, float]:
    """What has become of it all, and how many seconds after the last fault it was settled."""
    # So slow that submissions go on as long as the faults do.
    rate = generations / max(1.0, faults * sum(PAUSE) / 2)
    with machine.running(folder, url, rate=rate, seed=chance.randrange(2**31)) as running:
        ledger = Ledger(url)
        # Without a bell: the clock finds them.
        ledger.creation.create([_wish(number) for number in range(generations)], "chaos")
        started = time.monotonic()
        for name in schedule(faults, chance):
            time.sleep(chance.uniform(*PAUSE))
            print(f"{time.monotonic() - started:5.1f} s  {name}", file=sys.stderr)
            FAULTS[name](running)
        last_fault = time.monotonic()
        while time.monotonic() < last_fault + PATIENCE and not _is_settled(ledger, running):
            time.sleep(0.5)
        seconds = time.monotonic() - last_fault
        findings = audit(ledger, running.ask_sandbox("bill"), running.ask_sandbox("log?kind=download"), running.bucket)
        ledger.close()
    return findings, seconds


def _wish(number: int) -> NewGeneration:
    follow_up = ("upscale1",) if number % FOLLOWED == 0 else ()
    return NewGeneration("acedata", GenerationRequest(Operation.IMAGINE, f"chaos {number}"), follow_up=follow_up)


def _is_settled(ledger: Ledger, running: machine.Machine) -> bool:
    bill: Any = running.ask_sandbox("bill")
    try:
        return is_settled(ledger, bill)
    except LedgerUnavailable:
        return False


if __name__ == "__main__":
    sys.exit(main())
