"""One generation, with everything that a viewer may want to know."""

from dataclasses import dataclass

from tasks.usecases.accept import AssetChoice, RefusedBytes, look_at_refused
from tasks.usecases.control import OVER
from tasks.usecases.family import Family, family
from tasks.usecases.offers import Offers, known_prices, offers_of
from tasks.usecases.queries import Details, Story, show
from worker.failures import REMEDIES, category_of
from worker.generation import State
from worker.pricing import Prices, as_text
from worker.services import Services

#: states of charges
_PAID = ("spent", "late")


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """`cost`: what was paid for it; `total`: the same with all its follow-ups, both as text.

    `remedy`: of a failure. `refused`: files that were refused for their content and may be accepted unchanged.
    """

    details: Details
    family: Family
    offers: Offers
    cost: str
    total: str
    remedy: str | None
    refused: tuple[RefusedBytes, ...]

    @property
    def story(self) -> Story:
        return self.details.story

    @property
    def may_be_cancelled(self) -> bool:
        return self.story.generation.state is State.QUEUED

    @property
    def may_be_retried(self) -> bool:
        """Whether it ended without its results, or still waits for some of them."""
        return self.story.generation.state in {*OVER, State.SUCCEEDED}


def look(here: Services, name: str) -> Looked:
    """Return a generation's details. Raises as `find_generation` does."""
    details = show(here, name)
    story = details.story
    generation = story.generation
    category = category_of(generation.state, generation.reason, generation.message)
    prices = known_prices(here)
    return Looked(
        details=details,
        family=family(here, story.lineage.root_id, generation.id),
        offers=offers_of(here, story),
        cost=_text(prices, sum(one.price for one in story.charges if one.state in _PAID)),
        total=_text(prices, story.spent_in_total),
        remedy=None if category is None else REMEDIES[category],
        refused=_refused(here, story),
    )


def _refused(here: Services, story: Story) -> tuple[RefusedBytes, ...]:
    # Each refused file takes a request to the bucket.
    if not any(one.refused for one in story.assets):
        return ()
    (found,) = look_at_refused(here, (AssetChoice(story.generation.id),))
    return found


def _text(prices: Prices | None, amount: int) -> str:
    if prices is None:
        return as_text(amount) if amount else "not known"
    return prices.text(amount)
