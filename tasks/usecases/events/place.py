"""What all events of this machine have in common: the bucket, its keys, the currency, and where people decide."""

from collections.abc import Callable
from dataclasses import dataclass

from tasks.usecases.approval_links import approval_links
from worker.archive import Keys
from worker.errors import ConfigurationError
from worker.pricing import Prices
from worker.settings import Settings


@dataclass(frozen=True, slots=True)
class EventPlace:
    """`bucket`, `currency`: None if not set.

    `approval_link`: makes a link from an approval's id, with which anyone can decide it; None without CONSOLE_URL.
    """

    bucket: str | None
    keys: Keys
    currency: str | None
    approval_link: Callable[[str], str] | None = None


def event_place(settings: Settings, read_prices: Callable[[], Prices | None]) -> EventPlace:
    try:
        prices = read_prices()
    except ConfigurationError:
        # The workers and the doctor report this.
        prices = None
    keys = Keys(settings.s3_prefix, settings.s3_key_template)
    return EventPlace(settings.s3_bucket, keys, prices.currency if prices else None, _approval_link(settings))


def _approval_link(settings: Settings) -> Callable[[str], str] | None:
    if settings.console_url is None or settings.darkroom_signing_keys is None:
        return None
    return approval_links(settings)
