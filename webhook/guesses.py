"""Limits on guessing secrets, counted in this process alone."""

import ipaddress
import time
from math import ceil

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

#: the maximum number of keys remembered; the storage evicts none itself
_MOST = 10_000


class Guesses:
    """`most`: wrong guesses of one key within `minutes`."""

    def __init__(self, most: int, minutes: int) -> None:
        self._limit = RateLimitItemPerMinute(most, minutes)
        self._storage = MemoryStorage()

    def count(self, key: str) -> int:
        """Count a wrong guess and return 0, or after too many, return the seconds until the next one is allowed."""
        if len(self._storage.events) > _MOST:
            self._storage = MemoryStorage()
        return 0 if self._window.hit(self._limit, key) else self._seconds(key)

    def wait(self, key: str) -> int:
        """Return the seconds until this key may guess again; 0 if it may now."""
        return 0 if self._window.test(self._limit, key) else self._seconds(key)

    def forget(self, key: str) -> None:
        """Reset after a correct secret: those who know it do not pay for the guesses of others."""
        self._storage.clear(self._limit.key_for(key))

    @property
    def _window(self) -> MovingWindowRateLimiter:
        return MovingWindowRateLimiter(self._storage)

    def _seconds(self, key: str) -> int:
        return seconds_until(self._window.get_window_stats(self._limit, key).reset_time)


def seconds_until(moment: float) -> int:
    return max(1, ceil(moment - time.time()))


def network_of(address: str) -> str:
    """Return the address; for IPv6, its whole network, within which one machine can use any address."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    return str(ipaddress.ip_network((found, 64), strict=False)) if found.version == 6 else address
