"""Request rates, such as `100/second`."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from limits import RateLimitItem

#: limited, because each request within its window is remembered
_MOST = 100_000


def read_rate(text: str) -> "RateLimitItem":
    """Parse a rate in the notation of `limits`. Raises ValueError with a sentence."""
    # Imported here, so that only the API and settings with a rate pay for the library.
    from limits import parse  # noqa: PLC0415

    try:
        rate = parse(text)
    except ValueError:
        rate = None
    if rate is None:
        raise ValueError(f"{text!r} is not a rate such as 100/second, 1000/minute or 10 per 5 minutes")
    if not 1 <= rate.amount <= _MOST:
        raise ValueError(f"{text!r} is not a rate of 1 to {_MOST:,} requests: choose a shorter time")
    return rate
