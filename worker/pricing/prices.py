"""What a generation costs and how much may be spent. Pure; amounts are whole millionths of the one currency."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from decimal import Decimal
from functools import cached_property

from worker.generation import GenerationRequest
from worker.pricing.budget_days import day_of
from worker.pricing.surcharges import extras_of, highest_known, read_speed, read_version

MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Tier:
    """What a price depends on besides provider and operation, as the request says it; None where it says nothing.

    `extras`: such as `hd` and `quality=4` (`worker/pricing/surcharges.py`).
    """

    speed: str | None
    version: str | None
    extras: tuple[str, ...] = ()


def tier_of(request: GenerationRequest) -> Tier:
    """From the options, else from the prompt's parameters (`--turbo`, `--v 7`, `--niji 6`, `--hd`)."""
    version = read_version(request)
    return Tier(read_speed(request), version, extras_of(request, version))


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A price and what it is for; None fits any. Among factors, millionths of the number that prices are multiplied by.

    `extras`: what the request must have; a price is with these, a factor is for its one.
    """

    price: int
    provider: str | None = None
    operation: str | None = None
    speed: str | None = None
    version: str | None = None
    extras: frozenset[str] = frozenset()

    @property
    def words(self) -> tuple[str | None, ...]:
        return self.provider, self.operation, self.speed, self.version

    @property
    def weight(self) -> int:
        """The more it says, the more it counts."""
        return sum(word is not None for word in self.words) + len(self.extras)


@dataclass(frozen=True, slots=True)
class Quote:
    """What is reserved. `assumed`: extras without a factor, for which the highest that is known was taken."""

    amount: int
    assumed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Caps:
    """The most that may be spent: on one day, on one day at a provider, in a batch (others by their name)."""

    day: int | None = None
    providers: Mapping[str, int] = field(default_factory=dict)
    batch: int | None = None
    batches: Mapping[str, int] = field(default_factory=dict)

    def of_batch(self, name: str | None) -> int | None:
        return self.batches.get(name or "", self.batch)


@dataclass(frozen=True, kw_only=True)
class Prices:
    rules: tuple[Rule, ...] = ()
    caps: Caps = Caps()
    currency: str = "USD"
    factors: tuple[Rule, ...] = ()
    #: whose days are those of the caps
    zone: tzinfo = UTC

    def day_of(self, moment: datetime) -> str:
        """The day of the caps on which this is, such as 2026-11-21."""
        return day_of(moment, self.zone)

    def price(self, provider: str, operation: str, tier: Tier) -> int:
        return self.quote(provider, operation, tier).amount

    def quote(self, provider: str, operation: str, tier: Tier) -> Quote:
        """The price that says most about it, times the factors of the extras that it does not name; 0 where none fits.

        Never less than any price of the file that is for an extra of which the factor had to be assumed.
        """
        asked = (provider, operation, tier.speed, tier.version)
        fitting = [rule for rule in self._by_weight if _fits(rule, asked, tier)]
        if not fitting:
            return Quote(0)
        first, *others = fitting
        found = self._multiplied(first, asked, tier)
        named = (rule for rule in others if rule.extras.intersection(found.assumed))
        amount = max(found.amount, *(self._multiplied(rule, asked, tier).amount for rule in named), 0)
        return Quote(amount, found.assumed if amount else ())

    def knows(self, provider: str) -> bool:
        """Whether anything has a price there."""
        return any(rule.provider in {None, provider} and rule.price for rule in self.rules)

    def has_factor(self, provider: str, extra: str) -> bool:
        """Whether a factor or a price there is for this extra, at least for some of what has it."""
        named = (rule for rule in (*self.factors, *self.rules) if rule.provider in {None, provider})
        return any(extra in rule.extras for rule in named)

    def text(self, amount: int) -> str:
        return f"{as_text(amount)} {self.currency}"

    def _multiplied(self, rule: Rule, asked: tuple[str | None, ...], tier: Tier) -> Quote:
        amount, scale, assumed = rule.price, 1, []
        for extra in tier.extras:
            if extra in rule.extras:
                continue
            factor, is_assumed = self._factor(extra, asked, tier)
            amount, scale = amount * factor, scale * MILLION
            assumed += [extra] if is_assumed else []
        # Rounded up, once: no millionth less than it costs.
        return Quote(-(-amount // scale), tuple(assumed))

    def _factor(self, extra: str, asked: tuple[str | None, ...], tier: Tier) -> tuple[int, bool]:
        """In millionths; and whether it had to be assumed."""
        mine = [rule for rule in self._factors_by_weight if extra in rule.extras]
        for rule in mine:
            if _fits(rule, asked, tier):
                return rule.price, False
        highest = highest_known(extra, tier.version) * MILLION
        if highest == MILLION:
            return highest, False
        return max(highest, *(rule.price for rule in mine if rule.provider in {None, asked[0]}), 0), True

    @cached_property
    def _by_weight(self) -> tuple[Rule, ...]:
        return tuple(sorted(self.rules, key=lambda rule: -rule.weight))

    @cached_property
    def _factors_by_weight(self) -> tuple[Rule, ...]:
        return tuple(sorted(self.factors, key=lambda rule: -rule.weight))

    @cached_property
    def digest(self) -> str:
        """Eight characters that change with the prices."""
        rules = [(rule.price, rule.words, sorted(rule.extras)) for rule in (*self._by_weight, *self._factors_by_weight)]
        return hashlib.sha256(repr((len(self.rules), rules)).encode()).hexdigest()[:8]


def _fits(rule: Rule, asked: tuple[str | None, ...], tier: Tier) -> bool:
    words = all(word is None or word == other for word, other in zip(rule.words, asked, strict=True))
    return words and rule.extras.issubset(tier.extras)


def as_text(amount: int) -> str:
    """`0.05`, `12.00` or `0.0125`: at least two decimals."""
    exact = f"{Decimal(amount) / MILLION:.6f}"
    whole, _, decimals = exact.partition(".")
    return f"{whole}.{decimals.rstrip('0'):0<2}"
