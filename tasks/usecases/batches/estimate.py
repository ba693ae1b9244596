"""What a batch would cost, compared with the budgets."""

from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, replace

from tasks.usecases.recipes import worst_cost
from worker.errors import LedgerUnavailable
from worker.generation import GenerationRequest, Operation
from worker.ledger.budget import By, Standing
from worker.ledger.generations import NewGeneration
from worker.pricing import Prices, Quote, Tier, tier_of
from worker.providers import provider_class
from worker.recipes import Recipe, steps_of
from worker.services import Services

#: images in a grid
_IMAGES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """A cap, and `needed`: how much of it the submissions would use, without their follow-ups."""

    standing: Standing
    needed: int

    @property
    def is_enough(self) -> bool:
        return self.needed <= self.standing.left


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """Amounts are millionths. `amount`: of all submissions; `follow_ups`: of what follows them, at most.

    `by_provider`: amount of each; `unpriced`: submissions without a price; `assumed`: those whose price was multiplied
    by the highest known factor because the price file has none.
    """

    prices: Prices
    amount: int
    follow_ups: int
    by_provider: dict[str, int]
    unpriced: int
    assumed: int
    budgets: tuple[Budget, ...]

    def room(self, budget: Budget) -> str:
        """Say how much of the budget is needed and how much is left."""
        standing, text = budget.standing, self.prices.text
        room = f"{text(budget.needed)} needed, {text(standing.left)} of {text(standing.cap)} left"
        return f"budget {standing.name}: {room}{'' if budget.is_enough else '; the rest waits until there is room'}"

    @property
    def shortages(self) -> tuple[str, ...]:
        """Budgets without room for all of it."""
        return tuple(self.room(one) for one in self.budgets if not one.is_enough)


class Estimator:
    def __init__(self, services: Services, prices: Prices) -> None:
        self._services = services
        self._prices = prices
        self._quotes: dict[tuple[str, Operation, Tier], Quote] = {}
        self._follow_ups: dict[tuple[str, tuple[str, ...], Tier], int] = {}
        self._recipes: dict[tuple[str, str, Operation, Tier, Tier], int] = {}
        self._amounts: Counter[str] = Counter()
        self._later = self._unpriced = self._assumed = 0

    def add(self, new: NewGeneration) -> None:
        if new.is_test:
            return
        key = (new.provider, new.request.operation, tier_of(new.request))
        if (quote := self._quotes.get(key)) is None:
            quote = self._quotes[key] = self._prices.quote(*key)
        self._amounts[new.provider] += quote.amount
        self._unpriced += not quote.amount
        self._assumed += bool(quote.assumed)
        if new.recipe is not None:
            self._later += self._of_recipe(new.provider, new.recipe, new.request)
        if new.follow_up:
            tier = tier_of(_prompt_of(new.request))
            following = (new.provider, new.follow_up, tier)
            if following not in self._follow_ups:
                self._follow_ups[following] = sum(self._most(new.provider, item, tier) for item in new.follow_up)
            self._later += self._follow_ups[following]

    def _of_recipe(self, provider: str, recipe: Recipe, request: GenerationRequest) -> int:
        following = (provider, recipe.sha256, request.operation, tier_of(request), tier_of(_prompt_of(request)))
        if following not in self._recipes:
            self._recipes[following] = worst_cost(provider, recipe, self._prices, request)
        return self._recipes[following]

    @property
    def total(self) -> int:
        """The most that all submissions and their follow-ups may cost."""
        return sum(self._amounts.values()) + self._later

    def result(self, batch: str) -> Estimate:
        amount = sum(self._amounts.values())
        return Estimate(
            prices=self._prices,
            amount=amount,
            follow_ups=self._later,
            by_provider=dict(self._amounts),
            unpriced=self._unpriced,
            assumed=self._assumed,
            budgets=tuple(self._budgets(batch, amount)),
        )

    def _most(self, provider: str, item: str, tier: Tier) -> int:
        """Return the most that one follow-up expression costs for one success."""
        amount, number = 0, 1
        for operation, action in steps_of(item):
            if operation is Operation.SPLIT:
                continue  # Darkroom does it itself
            actions = provider_class(provider).capabilities[operation].actions
            number *= 1 if action else min(_IMAGES, len(actions) or 1)
            amount += number * self._prices.price(provider, operation, tier)
        return amount

    def _budgets(self, batch: str, amount: int) -> list[Budget]:
        found = []
        standings: list[Standing] = []
        # The rows are checked anyway.
        with suppress(LedgerUnavailable):
            standings = self._services.ledger.budgets.standings(self._prices)
        for standing in standings:
            if standing.budget is By.BATCH:
                continue
            needed = amount if standing.budget is By.DAY else self._amounts[standing.key]
            if needed:
                found.append(Budget(standing=standing, needed=needed))
        if (cap := self._prices.caps.of_batch(batch)) is not None:
            own = next((one for one in standings if one.budget is By.BATCH and one.name == batch), None)
            standing = own or Standing(budget=By.BATCH, key=batch, name=batch, cap=cap, used=0, waiting=0)
            found.append(Budget(standing=standing, needed=amount))
        return found


def _prompt_of(request: GenerationRequest) -> GenerationRequest:
    """Follow-ups inherit the prompt with its parameters, but no options."""
    return replace(request, options={})
