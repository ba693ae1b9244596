"""Recipes: rules for what follows a generation. Pure values."""

import hashlib
import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from decimal import Decimal
from enum import StrEnum
from functools import cached_property

from worker.generation import Operation, operation_of


class After(StrEnum):
    """The outcome of the generation that a step follows."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    ARCHIVED = "archived"


class Chooser(StrEnum):
    """Who picks images from a result."""

    ALL = "all"
    NUMBERS = "numbers"
    RANDOM = "random"
    #: the user's own Celery task
    TASK = "task"
    PERSON = "person"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pick:
    """`numbers`: image numbers, from 1; `count`: how many at random; `task`, `queue`: of the user's Celery task."""

    chooser: Chooser = Chooser.ALL
    numbers: tuple[int, ...] = ()
    count: int = 0
    task: str = ""
    queue: str = ""

    @property
    def waits(self) -> bool:
        """Return whether somebody has to decide."""
        return self.chooser in {Chooser.TASK, Chooser.PERSON}

    def of(self, available: Sequence[int], seed: str) -> tuple[int, ...]:
        """Return the numbers picked from the available ones, in their order. The same seed gives the same numbers.

        Raises ValueError if somebody has to decide.
        """
        match self.chooser:
            case Chooser.ALL:
                return tuple(available)
            case Chooser.NUMBERS:
                return tuple(number for number in available if number in self.numbers)
            case Chooser.RANDOM:
                drawn = random.Random(seed).sample(list(available), min(self.count, len(available)))
                return tuple(number for number in available if number in drawn)
        raise ValueError(f"{self.chooser} picks later")


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbers:
    """A condition on a number: `least` and `most`, both inclusive."""

    least: int
    most: int | None

    def has(self, number: int) -> bool:
        return self.least <= number and (self.most is None or number <= self.most)


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """The facts about a generation that conditions test. `images`: how many it has."""

    operation: str
    action: str | None
    provider: str
    options: Mapping[str, object]
    labels: Mapping[str, str]
    images: int


@dataclass(frozen=True, slots=True, kw_only=True)
class When:
    """The generations that a step follows. An empty condition matches all; several values mean any of them."""

    operations: tuple[str, ...] = ()
    actions: tuple[str, ...] = ()
    providers: tuple[str, ...] = ()
    options: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    images: Numbers | None = None

    def holds(self, facts: Facts) -> bool:
        return (
            (not self.operations or facts.operation in self.operations)
            and (not self.actions or facts.action in self.actions)
            and (not self.providers or facts.provider in self.providers)
            and all(_as_text(facts.options.get(name)) in values for name, values in self.options.items())
            and all(facts.labels.get(name) in values for name, values in self.labels.items())
            and (self.images is None or self.images.has(facts.images))
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """`do`: an action such as `upscale1`, or an operation such as `upscale`, meaning its action for each picked image.

    `timeout`: how long to wait for a pick; `otherwise`: what is picked after that (None: nothing). `max_cost`: for all
    that it creates for one generation, in the price file's currency. `then`: the steps that follow what it creates.
    """

    id: str
    do: str
    after: After = After.ARCHIVED
    when: When = field(default_factory=When)
    pick: Pick = field(default_factory=Pick)
    timeout: timedelta | None = None
    otherwise: Pick | None = None
    options: Mapping[str, str | tuple[str, ...]] = field(default_factory=dict)
    prompt: str | None = None
    max_cost: Decimal | None = None
    then: tuple["Step", ...] = ()

    @property
    def operation(self) -> Operation | None:
        """Return the operation that it performs; None for an action that Darkroom does not know."""
        return operation_of(self.do) if self.is_action else Operation(self.do)

    @property
    def is_action(self) -> bool:
        """Return whether `do` is a single action, rather than an operation with one action per image."""
        return self.do not in set(Operation)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """`max_depth`: steps in a chain; `max_fan_out`: how many generations all steps may create for one generation."""

    name: str
    steps: tuple[Step, ...]
    max_depth: int
    max_fan_out: int

    @cached_property
    def sha256(self) -> str:
        """Return the recipe's identity: a generation keeps the recipe that it started with."""
        text = json.dumps(asdict(self), sort_keys=True, default=str, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def all_steps(self) -> Iterator["Step"]:
        """Yield each step before what follows it."""
        return walk(self.steps)

    def after(self, step_id: str | None) -> tuple[Step, ...]:
        """Return the steps that follow the generations of a step; None: those that follow submitted generations."""
        if step_id is None:
            return self.steps
        return next((step.then for step in walk(self.steps) if step.id == step_id), ())


def walk(steps: Sequence[Step]) -> Iterator[Step]:
    """Yield each step before what follows it."""
    for step in steps:
        yield step
        yield from walk(step.then)


def _as_text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
