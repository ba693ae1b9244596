"""P8: how long a command takes to start, and how often that is an empty Python."""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence

from worker.ledger import Ledger
from worker.ledger.migrations import upgrade

_RUNS = 9
_ENTRY = "from tasks.cli import main; main()"


def startup_seconds() -> dict[str, float]:
    """Medians of wall-clock time: an empty Python, `darkroom --help`, `darkroom list`."""
    with tempfile.TemporaryDirectory() as folder:
        env = os.environ | {"DARKROOM_DATA": folder, "PYTHONDONTWRITEBYTECODE": ""}
        ledger = Ledger(f"sqlite:///{folder}/ledger.sqlite3")
        upgrade(ledger.database)
        ledger.close()
        commands = {
            "python": ("-c", "pass"),
            "help": ("-c", _ENTRY, "--help"),
            "list": ("-c", _ENTRY, "list"),
        }
        # In turns, so that a noisy neighbour disturbs all of them alike.
        times: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(_RUNS):
            for name, arguments in commands.items():
                times[name].append(_seconds(arguments, env))
    return {name: statistics.median(values[1:]) for name, values in times.items()}


def _seconds(arguments: Sequence[str], env: Mapping[str, str]) -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, *arguments], env=env, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started
