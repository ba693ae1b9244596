"""What is asked for: steadily while the faults strike, again and again until somebody gives his word for it."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from worker.errors import LedgerUnavailable
from worker.generation import GenerationRequest, Operation
from worker.ledger import Ledger
from worker.ledger.generations import NewGeneration
from worker.recipes import Chooser, Pick, Recipe, Step

#: each so many-th generation asks for a follow-up, and each so many-th of the others follows a recipe
FOLLOWED, BY_RECIPE = 6, 10
#: by its steps; a person picks two of four (`approver.py`), of which each goes two levels further
RECIPE = Recipe(
    name="chaos",
    steps=(
        Step(id="cut", do="split"),
        Step(
            id="best",
            do="upscale",
            pick=Pick(chooser=Chooser.PERSON),
            timeout=timedelta(hours=1),
            then=(Step(id="wide", do="zoom_out_2x", then=(Step(id="last", do="pan_left"),)),),
        ),
    ),
    max_depth=3,
    max_fan_out=3,
)
#: what follows an archived generation, by the step that made it
RECIPE_MAKES = {None: 3, "cut": 0, "best": 1, "wide": 1, "last": 0}
#: seconds between two orders, and until one that was refused is repeated
PAUSE = 2.0
#: as many as one order has at the most
_MOST = 1000


@dataclass(frozen=True, slots=True)
class Wish:
    name: str
    prompt: str
    follow_up: tuple[str, ...] = ()
    recipe: Recipe | None = None


def wishes(count: int, *, tiny: bool = False) -> list[Wish]:
    """`tiny` as the pretend provider understands it: a picture of a few bytes."""
    return [
        Wish(f"chaos-{number}", f"{'tiny: ' if tiny else ''}chaos {number}",
             () if tiny or number % FOLLOWED else ("upscale1",),
             RECIPE if not tiny and number % FOLLOWED and number % BY_RECIPE == 0 else None)
        for number in range(count)
    ]  # fmt: skip


class Order(threading.Thread):
    """Hands over all `wanted` in groups within `seconds`; `hand_over` raises one of `refusals` when it must wait."""

    def __init__(
        self,
        wanted: Sequence[Wish],
        seconds: float,
        hand_over: Callable[[Sequence[Wish]], None],
        refusals: tuple[type[Exception], ...],
    ) -> None:
        super().__init__(daemon=True)
        size = max(1, min(_MOST, round(len(wanted) * PAUSE / max(seconds, PAUSE))))
        self._groups = [wanted[start : start + size] for start in range(0, len(wanted), size)]
        self._seconds, self._hand_over, self._refusals = seconds, hand_over, refusals
        #: of those for which somebody has given his word
        self.names: set[str] = set()
        self.error: Exception | None = None

    def run(self) -> None:
        started = time.monotonic()
        try:
            for number, group in enumerate(self._groups):
                time.sleep(max(0.0, started + self._seconds * number / len(self._groups) - time.monotonic()))
                self._insist(group)
        except Exception as error:
            self.error = error

    def _insist(self, group: Sequence[Wish]) -> None:
        while True:
            try:
                self._hand_over(group)
            except self._refusals:
                time.sleep(PAUSE)
            else:
                self.names |= {wish.name for wish in group}
                return


def order_from_ledger(ledger: Ledger, wanted: Sequence[Wish], seconds: float) -> Order:
    def create(group: Sequence[Wish]) -> None:
        # With a key, so that it may be repeated when nobody knows whether it was written down; without a bell.
        new = [
            NewGeneration(
                provider="acedata",
                request=GenerationRequest(operation=Operation.IMAGINE, prompt=wish.prompt),
                key=wish.name,
                dedupe=wish.name,
                follow_up=wish.follow_up,
                recipe=wish.recipe,
            )
            for wish in group
        ]
        ledger.generations.create(new, "chaos")

    return Order(wanted, seconds, create, (LedgerUnavailable,))
