"""A request's own maximum cost."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from tasks.usecases.batches.estimate import Estimator
from tasks.usecases.submit import Checked
from worker.errors import RequestInvalid
from worker.ledger.generations import NewGeneration
from worker.services import Services


class Excess(NamedTuple):
    """`position`: of the generation that would cost too much, from 0; None for all of them together."""

    position: int | None
    told: str


def excesses(
    services: Services, checked: Checked, each: Sequence[int | None], together: int | None
) -> Iterator[Excess]:
    """Yield what would exceed the request's maximum cost, in millionths, including follow-ups.

    What exists already costs nothing. Raises RequestInvalid without a price file, and ConfigurationError for an invalid
    one.
    """
    limits = [(position, limit) for position, limit in enumerate(each) if limit is not None]
    if together is None and not limits:
        return
    if services.prices is None:
        raise RequestInvalid(
            "max_cost needs prices: name a price file in DARKROOM_PRICES and restart the API, or leave max_cost out",
            about=("max_cost",),
        )
    known = services.ledger.generations.known([new.dedupe for new in checked.wanted if new.dedupe])
    new = [None if one.dedupe in known else one for one in checked.wanted]
    for position, limit in limits:
        if told := _told(services, [new[position]], limit):
            yield Excess(position, told)
    if together is not None and (told := _told(services, new, together)):
        yield Excess(None, told)


def _told(services: Services, wanted: Sequence[NewGeneration | None], limit: int) -> str | None:
    prices = services.prices
    assert prices is not None, "asked before"  # noqa: S101
    estimator = Estimator(services, prices)
    for one in wanted:
        if one is not None:
            estimator.add(one)
    if (amount := estimator.total) <= limit:
        return None
    return f"it may cost {prices.text(amount)}, above its max_cost of {prices.text(limit)}: nothing was written"
