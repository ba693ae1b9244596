"""A worker process: drain loop, shutdown, watchdog."""

from worker.runtime import shutdown, watchdog
from worker.runtime.draining import LEASE, drain, give_back_late, renewed
from worker.runtime.lazy import locked_cached_property
from worker.runtime.unwritten import patiently

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
