"""Costs so far, amounts reserved, and what each budget has left."""

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
    """`since`: the time since dispatch, in whole days of DARKROOM_TIMEZONE."""

    by: By = By.DAY
    since: timedelta = timedelta(days=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class SpendReport:
    """Amounts are millionths. `prices`: None without a price file; `assumed`: warnings about missing factors.

    `first`: the first day that is counted, in DARKROOM_TIMEZONE.
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
    """Sum up costs and budgets. Raises ConfigurationError for an invalid price file."""
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
