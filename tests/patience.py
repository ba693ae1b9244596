"""How long a test waits for what must come: longer on a busy machine, and by `TEST_PATIENCE`, a factor (default 1)."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

FACTOR = float(os.environ.get("TEST_PATIENCE", "1"))
_CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def patient(seconds: float) -> float:
    """What takes at most so many seconds on a quiet machine may take so long on this one, now."""
    return seconds * FACTOR * max(1.0, _wanting_to_run() / _CORES)


def wait_for(holds: Callable[[], T], seconds: float, pause: float | None = None) -> T:
    """Ask until the answer is true; the last answer, which is false when it took too long.

    Without a `pause` in seconds, dear questions are asked less often, and leave the CPU to what they wait for.
    """
    began = asked = time.monotonic()
    while not (answer := holds()):
        answered = time.monotonic()
        waited = answered - began
        # The machine may have become busy only meanwhile.
        if waited > seconds and waited > patient(seconds):
            return answer
        time.sleep(min(max(0.01, 4 * (answered - asked)), 0.1) if pause is None else pause)
        asked = time.monotonic()
    return answer


def _wanting_to_run() -> float:
    """How many processes want a CPU: over the last minute or, if those are more, at this moment."""
    try:
        stat = Path("/proc/stat").read_text(encoding="ascii")
        now = float(stat.partition("procs_running ")[2].split()[0])
    except OSError:
        now = 0.0
    return max(os.getloadavg()[0], now)
