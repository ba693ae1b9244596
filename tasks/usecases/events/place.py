"""What all events of this machine have in common: the bucket, its keys, and the currency."""

from collections.abc import Callable
from dataclasses import dataclass

from worker.archive import Keys
from worker.errors import ConfigurationError
from worker.pricing import Prices
from worker.settings import Settings


@dataclass(frozen=True, slots=True)
class EventPlace:
    """`bucket`, `currency`: None where none is set."""

    bucket: str | None
    keys: Keys
    currency: str | None


def event_place(settings: Settings, read_prices: Callable[[], Prices | None]) -> EventPlace:
    try:
        prices = read_prices()
    except ConfigurationError:
        # The workers and the doctor say so.
        prices = None
    keys = Keys(settings.s3_prefix, settings.s3_key_template)
    return EventPlace(settings.s3_bucket, keys, prices.currency if prices else None)
