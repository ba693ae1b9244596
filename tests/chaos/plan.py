"""Which fault comes when, and for how long: drawn from the seed alone, so that a run can be repeated."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

#: seconds between two faults, least and most
PAUSE = (0.8, 3.0)


@dataclass(frozen=True, slots=True)
class Fault:
    """`part` is what it hurts: nothing else hurts that for `seconds`, in which it lasts and the part comes back.

    `often`: how many times it comes before all of the others have come as often as they may.
    """

    name: str
    part: str
    seconds: float
    often: int = 4


@dataclass(frozen=True, slots=True)
class Planned:
    """`at`: seconds from the start. `luck` (0 to 1) chooses where there are several victims."""

    at: float
    fault: Fault
    luck: float


def plan(count: int, faults: Sequence[Fault], chance: random.Random) -> list[Planned]:
    """Every fault as often as it may before any comes again, in an order of chance."""
    planned: list[Planned] = []
    deck: list[Fault] = []
    free_at = dict.fromkeys((fault.part for fault in faults), 0.0)
    at = 0.0
    while len(planned) < count:
        if not deck:
            deck = [fault for fault in faults for _ in range(fault.often)]
            chance.shuffle(deck)
        at = max(at + chance.uniform(*PAUSE), min(free_at[fault.part] for fault in deck))
        chosen = next(fault for fault in deck if free_at[fault.part] <= at)
        deck.remove(chosen)
        free_at[chosen.part] = at + chosen.seconds
        planned.append(Planned(at, chosen, chance.random()))
    return planned
