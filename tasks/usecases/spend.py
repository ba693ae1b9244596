"""Costs so far, amounts reserved, and what each budget has left."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta

from tasks.shown import shown
from tasks.usecases.labels import check_label_name
from tasks.usecases.services import LedgerServices
from worker.errors import ConfigurationError, RequestInvalid
from worker.ledger.budget import MOST_DIMENSIONS, Assumed, By, Dimension, Spent, Standing, Unpriced
from worker.pricing import Prices, first_day
from worker.providers import PROVIDERS

__all__ = ["Assumed", "By", "Dimension", "Priced", "SpendReport", "SpendRequest", "Spent", "Standing", "Unpriced",
           "price_now", "read_dimensions", "spend"]  # fmt: skip

_SUMS = ("known", "late", "possible", "reserved")


@dataclass(frozen=True, slots=True)
class SpendRequest:
    """What was dispatched on given days in DARKROOM_TIMEZONE. `labels`: only what has all of them.

    `since`: the first day, or the time since then in whole days; `until`: the last day, None: today.
    """

    by: tuple[Dimension, ...] = (Dimension(By.DAY),)
    since: timedelta | date = timedelta(days=30)
    labels: Mapping[str, str] = field(default_factory=dict)
    until: date | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SpendReport:
    """Amounts are millionths. `prices`: None without a price file; `assumed`: warnings about missing factors.

    `first`, `last`: the first and the last day included, in DARKROOM_TIMEZONE; None: today.
    """

    prices: Prices | None
    by: tuple[Dimension, ...]
    first: date
    last: date | None
    timezone: str
    rows: tuple[Spent, ...]
    total: Spent
    caps: tuple[Standing, ...]
    assumed: tuple[Assumed, ...]
    #: what was submitted without a price; unknown without a price file
    unpriced: tuple[Unpriced, ...]


@dataclass(frozen=True, slots=True)
class Priced:
    """What was submitted without a price and has now been charged; `amount` in millionths."""

    prices: Prices
    number: int
    amount: int


def read_dimensions(text: str) -> tuple[Dimension, ...]:
    """Parse a list of dimensions such as `label:client,provider,day`. Raises RequestInvalid."""
    found: list[Dimension] = []
    for word in (part.strip() for part in text.split(",")):
        name, colon, label = word.partition(":")
        if name == By.LABEL and not colon:
            raise RequestInvalid("cannot group by all labels: write label:NAME, such as label:client")
        if name not in set(By) or (colon and name != By.LABEL):
            known = ", ".join([*(one for one in By if one is not By.LABEL), "label:NAME"])
            raise RequestInvalid(
                f"cannot group by {shown(word)!r}: expected one or more of {known}, separated by commas"
            )
        if name == By.LABEL:
            check_label_name(label)
        found.append(Dimension(By(name), label))
    if len(set(found)) < len(found) or len(found) > MOST_DIMENSIONS:
        why = f"the limit is {MOST_DIMENSIONS}" if len(found) > MOST_DIMENSIONS else "one of them is given twice"
        raise RequestInvalid(f"cannot group by {shown(text)!r}: {why}")
    return tuple(found)


def spend(here: LedgerServices, request: SpendRequest) -> SpendReport:
    """Sum costs and budgets. Raises ConfigurationError for an invalid price file, RequestInvalid for an empty span."""
    prices = here.settings.read_prices(PROVIDERS)
    first = request.since
    if isinstance(first, timedelta):
        first = first_day(here.clock(), first, here.settings.zone)
    last = request.until or date.max
    if last < first:
        raise RequestInvalid(f"the last day {last} is before the first day {first}: swap them")
    spending = here.ledger.budgets
    rows = spending.totals(request.by, first, request.labels, last)
    return SpendReport(
        prices=prices,
        by=request.by,
        first=first,
        last=request.until,
        timezone=here.settings.darkroom_timezone,
        rows=tuple(rows),
        total=Spent(
            keys=(None,), names=("total",), **{name: sum(getattr(row, name) for row in rows) for name in _SUMS}
        ),
        caps=tuple(spending.standings(prices)) if prices else (),
        # These two are not broken down by label.
        assumed=() if request.labels else tuple(spending.assumed(first, last)),
        unpriced=tuple(spending.unpriced(prices, first, last)) if prices and not request.labels else (),
    )


def price_now(here: LedgerServices, since: timedelta) -> Priced:
    """Charge what was submitted without a price since then, at current prices, on the days on which it was sent.

    Works in small steps; safe to repeat. Raises ConfigurationError without a price file, or for an invalid one.
    """
    prices = here.settings.read_prices(PROVIDERS)
    if prices is None:
        raise ConfigurationError("DARKROOM_PRICES is not set, so there are no prices to charge")
    number, amount = here.ledger.budgets.price_now(prices, first_day(here.clock(), since, here.settings.zone))
    return Priced(prices, number, amount)
