"""What generations have cost, what they may still cost, and how much each budget has left."""

from dataclasses import dataclass
from datetime import date, timedelta

from tasks.usecases.services import LedgerServices
from worker.ledger.budget import Assumed, By, Spent, Standing
from worker.pricing import Prices, first_day
from worker.providers import PROVIDERS

__all__ = ["Assumed", "By", "SpendReport", "SpendRequest", "Spent", "Standing", "spend"]

_SUMS = ("known", "late", "possible", "reserved")


@dataclass(frozen=True, slots=True)
class SpendRequest:
    """`since`: what was dispatched in that time, in whole days of DARKROOM_TIMEZONE."""

    by: By = By.DAY
    since: timedelta = timedelta(days=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class SpendReport:
    """Amounts are millionths. `prices`: None if nothing is counted; `assumed`: for want of a factor in the file.

    `first`: the day since which it is counted, in that time zone.
    """

    prices: Prices | None
    by: By
    first: date
    timezone: str
    rows: tuple[Spent, ...]
    total: Spent
    caps: tuple[Standing, ...]
    assumed: tuple[Assumed, ...]


def spend(here: LedgerServices, request: SpendRequest) -> SpendReport:
    """Raises ConfigurationError for a price file that cannot be used."""
    prices = here.settings.read_prices(PROVIDERS)
    first = first_day(here.clock(), request.since, here.settings.zone)
    spending = here.ledger.budgets
    rows = spending.totals(request.by, first)
    return SpendReport(
        prices=prices,
        by=request.by,
        first=first,
        timezone=here.settings.darkroom_timezone,
        rows=tuple(rows),
        total=Spent(key=None, name="total", **{name: sum(getattr(row, name) for row in rows) for name in _SUMS}),
        caps=tuple(spending.standings(prices)) if prices else (),
        assumed=tuple(spending.assumed(first)),
    )
