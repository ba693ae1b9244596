"""How a worker's process works: until nothing is due, until it is told to stop, and not for ever."""

from worker.runtime import draining, shutdown, watchdog
from worker.runtime.draining import LEASE, drain, patiently, renewed
from worker.runtime.locked_cached_property import locked_cached_property

__all__ = [
    "LEASE",
    "drain",
    "draining",
    "locked_cached_property",
    "patiently",
    "renewed",
    "shutdown",
    "watchdog",
]
