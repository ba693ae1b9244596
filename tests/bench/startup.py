"""P8: how long a command takes to start, how often that is an empty Python, and `doctor` with a frozen provider."""

import os
import socket
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


def doctor_seconds() -> float:
    """Median of wall-clock time, from start to end, of `darkroom doctor` while a provider never answers."""
    with tempfile.TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0)) as frozen:
        env = os.environ | {"DARKROOM_DATA": folder, "PYTHONDONTWRITEBYTECODE": "", "KIE_API_KEY": "any"}
        env |= {"KIE_BASE_URL": f"http://127.0.0.1:{frozen.getsockname()[1]}", "REDIS_URL": "redis://127.0.0.1:1/0"}
        return statistics.median(_seconds(("-c", _ENTRY, "doctor"), env, exit_code=1) for _ in range(3))


def _seconds(arguments: Sequence[str], env: Mapping[str, str], exit_code: int = 0) -> float:
    started = time.perf_counter()
    ended = subprocess.run([sys.executable, *arguments], env=env, check=False, stdout=subprocess.DEVNULL)
    seconds = time.perf_counter() - started
    if ended.returncode != exit_code:
        raise RuntimeError(f"{arguments} ended with exit code {ended.returncode}, not {exit_code}")
    return seconds
