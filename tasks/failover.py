"""Moves unsent generations away from a provider to which nothing can be sent.

A provider is stopped when it is not configured here, or when each of its accounts is paused, or has its circuit breaker
open, for a minute or more (`worker.ledger.dispatch.LONG`). Its queued generations then move to the next of their
providers that can make them and is not stopped itself. If only its daily budget is used up, only the generations held
by that budget move, to a provider whose budget has room.
"""

import logging
import time
from collections import Counter
from collections.abc import Callable

from tasks.capability_check import require_expressible
from worker.errors import ConfigurationError, RequestInvalid
from worker.ledger.budget import By
from worker.ledger.dispatch import Candidate, ProviderMove
from worker.pricing import Prices, tier_of
from worker.providers import PROVIDERS
from worker.services import Services

log = logging.getLogger(__name__)

#: generations read and decided together
PAGE = 500
#: seconds after which a pass leaves the rest to the next one, because dispatch waits meanwhile
_SLICE = 1.0
#: seconds until a provider from which nothing could move is checked again, unless another provider recovers sooner
_LOOK_AGAIN = 10.0


class Failover:
    """Remembers between passes where nothing can move: reading a large queue every second would be expensive."""

    def __init__(self) -> None:
        #: provider → the providers that were not stopped at the time, and that time
        self._in_vain: dict[str, tuple[frozenset[str], float]] = {}
        #: provider → the last id that an interrupted pass reached, and whether nothing had moved by then
        self._places: dict[str, tuple[str, bool]] = {}

    def __call__(self, here: Services) -> int:
        """Return how many generations moved."""
        waiting = [name for name in here.ledger.dispatch.providers_failing_over() if name in PROVIDERS]
        if not waiting:
            return 0
        situation = Situation(here)
        usable = frozenset(name for name in PROVIDERS if situation.stop_of(name) is None)
        give_up_at = time.monotonic() + _SLICE
        return sum(self._leave(here, situation, name, usable, give_up_at) for name in waiting)

    def _leave(
        self, here: Services, situation: "Situation", name: str, usable: frozenset[str], give_up_at: float
    ) -> int:
        before = self._in_vain.get(name)
        if before is not None and before[0] == usable and time.monotonic() - before[1] < _LOOK_AGAIN:
            return 0
        is_stopped = situation.stop_of(name) is not None
        moved: Counter[tuple[str, str]] = Counter()
        after, is_vain = self._places.pop(name, ("", True))
        while True:
            page = here.ledger.dispatch.movable(name, after, PAGE, held=not is_stopped)
            moves = [move for row in page if (move := situation.move_of(row)) is not None]
            done = here.ledger.dispatch.move(moves) if moves else set()
            moved.update((move.to, move.why) for move in moves if move.generation_id in done and move.to != name)
            is_vain = is_vain and not done
            if len(page) < PAGE:
                if is_vain:
                    self._in_vain[name] = usable, time.monotonic()
                break
            after = page[-1].id
            if time.monotonic() >= give_up_at:
                self._places[name] = after, is_vain
                break
        for (to, why), number in moved.items():
            log.warning("moved %d queued generations from %s to %s: %s", number, name, to, why)
        return moved.total()


fail_over: Callable[[Services], int] = Failover()


class Situation:
    """During one pass: which providers are stopped, and how much room their daily budgets have."""

    def __init__(self, here: Services) -> None:
        self._here = here
        self._prices: Prices | None = here.prices
        self._stops: dict[str, str | None] = {}
        self._room: dict[str, int] | None = None

    def stop_of(self, name: str) -> str | None:
        """Return why nothing can be sent to this provider; None if it can."""
        if name not in self._stops:
            self._stops[name] = _stop(self._here, name)
        return self._stops[name]

    def move_of(self, row: Candidate) -> ProviderMove | None:
        """Return where it moves; None if it stays. Providers that can never make it are dropped from its choices."""
        why = self.stop_of(row.provider) or self._held(row)
        if why is None:
            return None
        choices = list(row.providers or ())
        to = row.provider
        for name in row.providers or ():
            # Leave alone names that only another version knows.
            if name not in PROVIDERS or self.stop_of(name) is not None:
                continue
            if refusal_of(self._here, name, row) is not None:
                choices.remove(name)
            elif self._takes(name, row):
                choices.remove(name)
                to = name
                break
        if len(choices) == len(row.providers or ()):
            return None
        return ProviderMove(generation_id=row.id, left=row.provider, to=to, providers=tuple(choices), why=why)

    def _held(self, row: Candidate) -> str | None:
        """Return why its provider's daily budget holds it, if it still does: prices and caps may have changed."""
        prices = self._prices
        if prices is None or row.held != By.PROVIDER or row.held_prices != prices.digest:
            return None
        room = self._room_of(row.provider)
        return row.message if room is not None and room < (row.price or 0) else None

    def _takes(self, name: str, row: Candidate) -> bool:
        """Return whether the provider's daily budget has room, counting what moves there in this pass."""
        room = self._room_of(name)
        if self._prices is None or room is None or self._room is None:
            return True
        cost = self._prices.price(name, row.operation, tier_of(row.request))
        if cost > room:
            return False
        self._room[name] = room - cost
        return True

    def _room_of(self, name: str) -> int | None:
        """Return the room left in its daily budget; None: no cap."""
        if self._prices is None:
            return None
        if self._room is None:
            standings = self._here.ledger.budgets.standings(self._prices)
            self._room = {one.key: one.left for one in standings if one.budget is By.PROVIDER}
        return self._room.get(name)


def refusal_of(here: Services, name: str, row: Candidate) -> str | None:
    """Return why this provider cannot make it or its follow-ups; None if it can."""
    try:
        require_expressible(here.provider(name), row.request, row.follow_up)
    except RequestInvalid as error:
        return str(error)
    return None


def _stop(here: Services, name: str) -> str | None:
    accounts = here.accounts(name)
    faults: dict[str, str] = {}
    for account in accounts:
        try:
            here.provider(name, account)
        except ConfigurationError as error:
            faults[account] = f"not configured: {error}"
    faults |= here.ledger.dispatch.stopped_accounts(name, here.key_marks(name))
    if not all(account in faults for account in accounts):
        return None
    return "; ".join(dict.fromkeys(faults[account] for account in accounts))
