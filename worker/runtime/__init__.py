"""A worker's process: drain loop, shutdown, watchdog."""

from worker.runtime import shutdown, watchdog
from worker.runtime.draining import LEASE, drain, give_back_late, patiently, renewed
from worker.runtime.lazy import locked_cached_property

__all__ = [
    "LEASE",
    "drain",
    "give_back_late",
    "locked_cached_property",
    "patiently",
    "renewed",
    "shutdown",
    "watchdog",
]
