"""Limits requests per token, and wrong tokens per address."""

from collections.abc import Mapping
from functools import lru_cache

from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from webhook.api.call import Refused
from webhook.guesses import Guesses, network_of, seconds_until
from worker.settings import read_rate

#: wrong tokens that an address may try per minute
GUESSES = 20

_read = lru_cache(256)(read_rate)


class Rates:
    """Counts in this process alone. `default`: the rate of tokens that have none."""

    def __init__(self, default: str) -> None:
        self._default = default
        self._requests = MovingWindowRateLimiter(MemoryStorage())
        self._guesses = Guesses(GUESSES, minutes=1)

    def count(self, token_id: str, rate: str | None) -> Mapping[str, str]:
        """Count a request; return the headers with what is left. Raises Refused (429)."""
        item = _read(rate or self._default)
        is_allowed = self._requests.hit(item, token_id)
        standing = self._requests.get_window_stats(item, token_id)
        wait = seconds_until(standing.reset_time)
        headers = {
            "RateLimit-Limit": str(item.amount),
            "RateLimit-Remaining": str(standing.remaining),
            "RateLimit-Reset": str(wait),
        }
        if not is_allowed:
            raise _too_many(f"this token may send {item}: repeat the request in {wait} s", wait, headers)
        return headers

    def count_guess(self, address: str) -> None:
        """Count a wrong token. Raises Refused (429) after many; valid tokens from that address are never refused."""
        if wait := self._guesses.count(network_of(address)):
            raise _too_many("too many wrong tokens came from this address: correct the token", wait, {})


def _too_many(message: str, wait: int, headers: Mapping[str, str]) -> Refused:
    return Refused(message, status=429, code="too_many_requests", headers={**headers, "Retry-After": str(wait)})
