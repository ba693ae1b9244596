"""What a generation costs and how much may be spent. Pure; amounts are whole millionths of the one currency."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property

from worker.generation import GenerationRequest

MILLION = 1_000_000

_SPEED = re.compile(r"(?<!\S)(?:--|\N{EM DASH})(relax|fast|turbo)(?!\S)", re.IGNORECASE)
_VERSION = re.compile(r"(?<!\S)(?:--|\N{EM DASH})(v|version|niji)\s+(\S+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Tier:
    """What a price depends on besides provider and operation, as the request says it; None where it says nothing."""

    speed: str | None
    version: str | None


def tier_of(request: GenerationRequest) -> Tier:
    """From the options `speed` and `version`, else from the prompt's parameters (`--turbo`, `--v 7`, `--niji 6`)."""
    speed, version = request.options.get("speed"), request.options.get("version")
    prompt = request.prompt if "--" in request.prompt or "\N{EM DASH}" in request.prompt else ""
    if speed is None and (found := _SPEED.search(prompt)):
        speed = found[1]
    if version is None and (found := _VERSION.search(prompt)):
        version = f"niji{found[2]}" if found[1].lower() == "niji" else found[2]
    return Tier(_plain(speed), _plain(version))


def plain_version(text: str) -> str:
    """`Niji 6` and `niji6` are one version."""
    return "".join(text.lower().split())


def _plain(value: object) -> str | None:
    # Options are checked by the provider; what came past it has no price of its own.
    return plain_version(str(value)) if isinstance(value, str | int | float) else None


@dataclass(frozen=True, slots=True)
class Rule:
    """A price and what it is for; None fits any."""

    price: int
    provider: str | None = None
    operation: str | None = None
    speed: str | None = None
    version: str | None = None

    @property
    def words(self) -> tuple[str | None, ...]:
        return self.provider, self.operation, self.speed, self.version

    @property
    def weight(self) -> int:
        """The more it says, the more it counts."""
        return sum(word is not None for word in self.words)


@dataclass(frozen=True, slots=True)
class Caps:
    """The most that may be spent: on one day (UTC), on one day at a provider, in a batch (others by their name)."""

    day: int | None = None
    providers: Mapping[str, int] = field(default_factory=dict)
    batch: int | None = None
    batches: Mapping[str, int] = field(default_factory=dict)

    def of_batch(self, name: str | None) -> int | None:
        return self.batches.get(name or "", self.batch)


@dataclass(frozen=True)
class Prices:
    rules: tuple[Rule, ...] = ()
    caps: Caps = Caps()
    currency: str = "USD"

    def price(self, provider: str, operation: str, tier: Tier) -> int:
        """That of the rule that says most about it; 0 where none fits."""
        asked = (provider, operation, tier.speed, tier.version)
        return next((rule.price for rule in self._by_weight if _fits(rule, asked)), 0)

    def knows(self, provider: str) -> bool:
        """Whether anything has a price there."""
        return any(rule.provider in {None, provider} and rule.price for rule in self.rules)

    def text(self, amount: int) -> str:
        return f"{as_text(amount)} {self.currency}"

    @cached_property
    def _by_weight(self) -> tuple[Rule, ...]:
        return tuple(sorted(self.rules, key=lambda rule: -rule.weight))

    @cached_property
    def digest(self) -> str:
        """Eight characters that change with the prices."""
        return hashlib.sha256(repr(self._by_weight).encode()).hexdigest()[:8]


def _fits(rule: Rule, asked: tuple[str | None, ...]) -> bool:
    return all(word is None or word == other for word, other in zip(rule.words, asked, strict=True))


def as_text(amount: int) -> str:
    """`0.05`, `12.00` or `0.0125`: at least two decimals."""
    exact = f"{Decimal(amount) / MILLION:.6f}"
    whole, _, decimals = exact.partition(".")
    return f"{whole}.{decimals.rstrip('0'):0<2}"
