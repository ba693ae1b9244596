"""How a worker's process works: until nothing is due, until it is told to stop, and not for ever."""

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
