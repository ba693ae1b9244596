"""Why saved generations are not submitted yet."""

from collections.abc import Sequence
from contextlib import suppress

from tasks.usecases.assumed_prices import assumed_in
from worker.errors import ConfigurationError, LedgerUnavailable
from worker.ledger.generations import NewGeneration
from worker.services import Services


def waits_of_new(services: Services, wanted: Sequence[NewGeneration]) -> tuple[str, ...]:
    """Return why none of what was saved is submitted yet, and what is reserved because no price is known."""
    said: list[str] = []
    # Everything is saved: a ledger failure now must not make the command fail.
    with suppress(LedgerUnavailable):
        if (guard := services.ledger.restore.state()) and guard.complaint:
            said.append(f"saved, but {guard.complaint}")
    try:
        prices = services.prices
    except ConfigurationError as error:
        # Workers need the price file before they submit anything.
        return (*said, f"saved, but nothing is submitted until this is fixed: {error}")
    return (*said, *(assumed_in(wanted, prices, services.settings.darkroom_prices) if prices else ()))
