"""Generations as programs poll them."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import Lock

from tasks.usecases.services import LedgerServices
from tasks.waiting import Wait, wait_of, waits_of
from worker.errors import ConfigurationError, NotFound
from worker.generation import OPEN, State
from worker.ledger.budget import AnyBudgetKey, Asked, BudgetKind, LabelKey
from worker.ledger.generations import Snapshot
from worker.pricing import tier_of
from worker.services import Services

__all__ = ["Held", "Seen", "Snapshot", "Waits", "ended", "see", "seen_of", "snapshots"]

#: seconds for which the causes that hold up the whole pipeline are cached
_FRESH = 1.0
#: budgets that reset every day
_DAILY = (BudgetKind.DAY, BudgetKind.PROVIDER)


@dataclass(frozen=True, slots=True)
class Held:
    """`budget`: the budget without room: `day`, `provider:kie`, `batch:NAME` or `label:client=acme`.

    `until`: when it resets; None if only a higher cap helps.
    """

    budget: str
    until: datetime | None


@dataclass(frozen=True, slots=True)
class Seen:
    """`held`: by a budget, even before dispatch has examined it. `waits_for`: the main thing that holds it up."""

    snapshot: Snapshot
    held: Held | None
    waits_for: Wait | None


class Waits:
    """What holds up the whole pipeline, queried at most once a second: it is the same for all callers."""

    def __init__(self, here: LedgerServices) -> None:
        self._here = here
        self._asking = Lock()
        self._known: tuple[float, tuple[Wait, ...]] | None = None

    def now(self) -> tuple[Wait, ...]:
        """Return the cached or the current causes. Other callers wait only for the very first query."""
        known = self._known
        if known is not None and time.monotonic() - known[0] <= _FRESH:
            return known[1]
        if not self._asking.acquire(blocking=known is None):
            return known[1] if known is not None else ()
        try:
            found = self._known
            if found is known:
                found = self._known = (time.monotonic(), waits_of(self._here.ledger, self._here.settings))
        finally:
            self._asking.release()
        return found[1] if found is not None else ()


def see(here: Services, ids: Sequence[str], waits: Waits) -> list[Seen]:
    """Return generations in the order of `ids`; raises NotFound for the first that does not exist."""
    found = snapshots(here, ids)
    if (missing := next((one for one in ids if one not in found), None)) is not None:
        raise NotFound(f"there is no generation {missing}")
    return seen_of(here, [found[one] for one in ids], waits)


def snapshots(here: LedgerServices, ids: Sequence[str]) -> dict[str, Snapshot]:
    """Return those that exist, by id."""
    return {one.generation.id: one for one in here.ledger.generations.snapshots(ids)}


def seen_of(here: Services, found: Sequence[Snapshot], waits: Waits) -> list[Seen]:
    """Return them with what holds each of them up now."""
    held = _held(here, found)
    why = waits.now() if any(one.generation.state in OPEN or one.generation.recipe for one in found) else ()
    return [Seen(one, held.get(one.generation.id), wait_of(one.generation, why)) for one in found]


def ended(here: LedgerServices, ids: Sequence[str]) -> set[str]:
    """Return those whose state is final."""
    return here.ledger.generations.ended(ids)


def _held(here: Services, found: Sequence[Snapshot]) -> Mapping[str, Held]:
    """Return the holds by id; each generation can use only what those before it leave."""
    queued = [
        one
        for one in found
        if one.generation.state is State.QUEUED and one.generation.account is None and not one.generation.is_test
    ]
    try:
        prices = here.prices if queued else None
    except ConfigurationError:
        # Nothing is submitted until it is fixed; `waits_for` and the response to a submission say so.
        return {}
    if prices is None:
        return {}
    asked = [
        Asked(
            one.generation.provider,
            one.generation.batch_id,
            tuple(one.labels.items()),
            prices.price(one.generation.provider, one.generation.operation, tier_of(one.generation.request)),
        )
        for one in queued
    ]
    now = here.clock().astimezone(prices.zone)
    tomorrow = (now + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
    full = here.ledger.budgets.full(prices, asked)
    return {
        one.generation.id: Held(_name(key, one), tomorrow if key.kind in _DAILY else None)
        for one, key in zip(queued, full, strict=True)
        if key is not None
    }


def _name(key: AnyBudgetKey, of: Snapshot) -> str:
    if isinstance(key, LabelKey):
        return f"{key.kind}:{key.text}"
    subject = {BudgetKind.PROVIDER: key.provider, BudgetKind.BATCH: of.lineage.batch}.get(key.kind)
    return f"{key.kind}:{subject}" if subject else key.kind
