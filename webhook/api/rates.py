"""How many requests each token may send, and how many wrong tokens an address."""

import ipaddress
import time
from collections.abc import Mapping
from functools import lru_cache
from math import ceil

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from webhook.api.call import Refused
from worker.settings import read_rate

#: wrong tokens that an address may try
GUESSES = RateLimitItemPerMinute(20)
#: addresses that are remembered at the most; the storage forgets no key by itself
_MOST_ADDRESSES = 10_000

_read = lru_cache(256)(read_rate)


class Rates:
    """Counts in this process alone. `default`: for tokens without a rate of their own."""

    def __init__(self, default: str) -> None:
        self._default = default
        self._requests = MovingWindowRateLimiter(MemoryStorage())
        self._guesses = MemoryStorage()

    def count(self, token_id: str, rate: str | None) -> Mapping[str, str]:
        """Count a request; return the headers that tell what is left. Raises Refused (429)."""
        item = _read(rate or self._default)
        is_allowed = self._requests.hit(item, token_id)
        standing = self._requests.get_window_stats(item, token_id)
        wait = _seconds_until(standing.reset_time)
        headers = {
            "RateLimit-Limit": str(item.amount),
            "RateLimit-Remaining": str(standing.remaining),
            "RateLimit-Reset": str(wait),
        }
        if not is_allowed:
            raise _too_many(f"this token may send {item}: send the request again in {wait} s", wait, headers)
        return headers

    def count_guess(self, address: str) -> None:
        """Count a wrong token. Raises Refused (429) after many; right tokens of the same address are never refused."""
        if len(self._guesses.events) > _MOST_ADDRESSES:
            self._guesses = MemoryStorage()
        guesses, network = MovingWindowRateLimiter(self._guesses), _network(address)
        if not guesses.hit(GUESSES, network):
            wait = _seconds_until(guesses.get_window_stats(GUESSES, network).reset_time)
            raise _too_many("too many wrong tokens came from this address: correct the token", wait, {})


def _too_many(message: str, wait: int, headers: Mapping[str, str]) -> Refused:
    return Refused(message, status=429, code="too_many_requests", headers={**headers, "Retry-After": str(wait)})


def _seconds_until(moment: float) -> int:
    return max(1, ceil(moment - time.time()))


def _network(address: str) -> str:
    """Of IPv6 the whole network, in which one machine has as many addresses as it likes."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    return str(ipaddress.ip_network((found, 64), strict=False)) if found.version == 6 else address
