"""Prices and caps. Pure; amounts are integers in millionths of the currency."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from decimal import Decimal
from functools import cached_property

from worker.generation import GenerationRequest
from worker.pricing.budget_days import day_of
from worker.pricing.surcharges import extras_of, highest_known, read_speed, read_version

MILLION = 1_000_000
_AMOUNT = re.compile(r"([0-9]{1,9})(?:\.([0-9]{1,6}))?")
#: in the caps of a label: each value without its own cap
ANY_VALUE = "*"


@dataclass(frozen=True, slots=True)
class Tier:
    """The parts of a request, besides provider and operation, that affect its price; None where the request has none.

    `extras`: for instance `hd` and `quality=4` (see `worker/pricing/surcharges.py`).
    """

    speed: str | None
    version: str | None
    extras: tuple[str, ...] = ()


def tier_of(request: GenerationRequest) -> Tier:
    """Return the tier from the options, else from the prompt's parameters (`--turbo`, `--v 7`, `--niji 6`, `--hd`)."""
    version = read_version(request)
    return Tier(read_speed(request), version, extras_of(request, version))


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A price, or a factor in millionths, and what it applies to; None matches anything.

    `extras`: the extras that the request must have. A price includes them; a factor is for a single one.
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
        """Return a number that is higher the more specific the rule is."""
        return sum(word is not None for word in self.words) + len(self.extras)


@dataclass(frozen=True, slots=True)
class Quote:
    """The amount to reserve. `assumed`: extras without a factor, for which the highest known factor was used."""

    amount: int
    assumed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Caps:
    """The caps: per day, per day and provider, per batch (some by name), per label (name → value → cap)."""

    day: int | None = None
    providers: Mapping[str, int] = field(default_factory=dict)
    batch: int | None = None
    batches: Mapping[str, int] = field(default_factory=dict)
    labels: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    def of_batch(self, name: str | None) -> int | None:
        return self.batches.get(name or "", self.batch)

    def of_label(self, name: str, value: str) -> int | None:
        of_name = self.labels.get(name, {})
        return of_name.get(value, of_name.get(ANY_VALUE))


@dataclass(frozen=True, kw_only=True)
class Prices:
    rules: tuple[Rule, ...] = ()
    caps: Caps = Caps()
    currency: str = "USD"
    factors: tuple[Rule, ...] = ()
    #: the time zone of the caps' days
    zone: tzinfo = UTC

    def day_of(self, moment: datetime) -> str:
        """Return the day of this time in the caps' time zone, such as 2026-11-21."""
        return day_of(moment, self.zone)

    def price(self, provider: str, operation: str, tier: Tier) -> int:
        return self.quote(provider, operation, tier).amount

    def quote(self, provider: str, operation: str, tier: Tier) -> Quote:
        """Return the most specific price times the factors of the extras it does not include; 0 if no price matches.

        With an assumed factor for an extra, the result is never less than any price in the file for that extra.
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

    def has_price(self, provider: str, operation: str, tier: Tier) -> bool:
        """Return whether a price applies, even one of 0."""
        asked = (provider, operation, tier.speed, tier.version)
        return any(_fits(rule, asked, tier) for rule in self.rules)

    def knows(self, provider: str) -> bool:
        """Return whether any operation of the provider has a price."""
        return any(rule.provider in {None, provider} and rule.price for rule in self.rules)

    def has_factor(self, provider: str, extra: str) -> bool:
        """Return whether the provider has a factor or a price for this extra, at least for some requests."""
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
        # Rounded up, once: never a millionth less than the cost.
        return Quote(-(-amount // scale), tuple(assumed))

    def _factor(self, extra: str, asked: tuple[str | None, ...], tier: Tier) -> tuple[int, bool]:
        """Return the factor in millionths, and whether it was assumed."""
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
        """Return eight characters that change whenever the prices do."""
        rules = [(rule.price, rule.words, sorted(rule.extras)) for rule in (*self._by_weight, *self._factors_by_weight)]
        return hashlib.sha256(repr((len(self.rules), rules)).encode()).hexdigest()[:8]


def _fits(rule: Rule, asked: tuple[str | None, ...], tier: Tier) -> bool:
    words = all(word is None or word == other for word, other in zip(rule.words, asked, strict=True))
    return words and rule.extras.issubset(tier.extras)


def read_amount(text: str) -> int | None:
    """Return the millionths of `0.05` or `20`, with at most six decimals; None for anything else."""
    found = _AMOUNT.fullmatch(text)
    return int(found[1]) * MILLION + int(f"{found[2] or '':0<6}") if found else None


def millionths(amount: Decimal) -> int:
    """Return the amount in millionths, rounded down."""
    return int(amount * MILLION)


def as_text(amount: int) -> str:
    """Format an amount with at least two decimals: `0.05`, `12.00`, `0.0125`."""
    exact = f"{Decimal(amount) / MILLION:.6f}"
    whole, _, decimals = exact.partition(".")
    return f"{whole}.{decimals.rstrip('0'):0<2}"
