"""Pauses, resumes, cancels, reprioritizes and limits a batch."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType

from tasks.usecases import control
from tasks.usecases.entry import PRIORITIES
from tasks.usecases.names import find_batch
from tasks.usecases.selection import Selection
from tasks.usecases.services import LedgerServices
from worker.errors import RequestInvalid
from worker.generation import OPEN, State
from worker.ledger.batches import NewSteering, Steering
from worker.pricing import Prices, as_text
from worker.providers import PROVIDERS
from worker.steps import Step

__all__ = ["NewSteering", "Steered", "cancel", "limit", "pause", "reprioritize", "resume"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Steered:
    """`after`: the batch's new steering; `told`: what that means, in a few words; `notes`: whole sentences.

    `is_changed`: False if it already was as requested. `done`: how many of its generations were changed; `left`: how
    many were left alone, by reason; `under_way`: how many are at providers.
    """

    action: str
    after: Steering
    is_changed: bool
    told: str
    done: Mapping[str, int]
    left: Mapping[str, int]
    under_way: int
    notes: tuple[str, ...]
    wakes: tuple[Step, ...]


def pause(here: LedgerServices, batch: str) -> Steered:
    """Pause a batch: submit nothing more of it. Raises NotFound, and RequestInvalid if it is complete."""
    batch_id = _open(here, batch)
    is_changed = here.ledger.batches.pause(batch_id)
    queued, left = _queued_and_others(here, batch_id)
    under_way = _under_way(here, batch_id)
    notes = (f"{under_way:,} already under way: paid for, and archived when finished",) if under_way else ()
    told = "paused" if is_changed else "already paused"
    return _steered(
        here, "pause", batch_id, is_changed=is_changed, told=told, done={"paused": queued}, left=left, notes=notes
    )


def resume(here: LedgerServices, batch: str) -> Steered:
    """Continue a paused batch. Raises NotFound."""
    batch_id = find_batch(here.ledger, batch)
    is_changed = here.ledger.batches.resume(batch_id)
    start_at = here.ledger.batches.steering(batch_id).start_at
    queued, _ = _queued_and_others(here, batch_id)
    told = "resumed" if is_changed else "was not paused"
    done = {"queued": queued} if is_changed else {}
    notes = (f"it starts at {_local(start_at)}",) if start_at is not None else ()
    return _steered(here, "resume", batch_id, is_changed=is_changed, told=told, done=done, notes=notes)


def cancel(here: LedgerServices, batch: str) -> Steered:
    """Cancel what is queued, and create no follow-ups of what is in progress or waiting for a decision.

    Also ends its pause and its wait for a start time.

    Raises as `pause` does; LedgerUnavailable states how many were done before.
    """
    batch_id = _open(here, batch)
    # Pause first, so that nothing is sent or added while it is cancelled a few at a time.
    here.ledger.batches.pause(batch_id)
    dropped, withdrawn = here.ledger.batches.drop_follow_ups(batch_id)
    decisions = control.cancel(here, Selection(batch=batch_id))
    here.ledger.batches.limit(batch_id, paused_at=None, start_at=None)
    cancelled = sum(one.is_done for one in decisions.generations)
    left = decisions.all_left
    notes = (
        *((f"{dropped:,} under way get no follow-ups",) if dropped else ()),
        *((f"{'1 decision is' if withdrawn == 1 else f'{withdrawn:,} decisions are'} no longer needed",)
          if withdrawn else ()),
    )  # fmt: skip
    return _steered(
        here, "cancel", batch_id, is_changed=bool(cancelled or dropped or withdrawn), told="cancelled",
        done={"cancelled": cancelled}, left=left, notes=notes,
    )  # fmt: skip


def reprioritize(here: LedgerServices, batch: str, priority: int) -> Steered:
    """Change the priority of everything open in it; higher goes first. Raises as `cancel` does."""
    if priority not in PRIORITIES:
        raise RequestInvalid(f"{priority} is not a priority: use a number from {PRIORITIES[0]} to {PRIORITIES[-1]}")
    batch_id = _open(here, batch)
    changed = here.ledger.batches.reprioritize(batch_id, priority)
    queued, left = _queued_and_others(here, batch_id)
    if queued > changed:
        left["already queued with this priority"] = queued - changed
    return _steered(
        here, "reprioritize", batch_id, is_changed=changed > 0, told=f"priority {priority}",
        done={"reprioritized": changed}, left=left,
    )  # fmt: skip


def limit(here: LedgerServices, batch: str, changes: NewSteering) -> Steered:
    """Set its start time, maximum cost and concurrency; what `changes` does not name stays the same.

    Raises NotFound; RequestInvalid for a maximum cost without prices.
    """
    prices = here.settings.read_prices(PROVIDERS)
    if changes.get("max_cost") is not None and prices is None:
        raise RequestInvalid("a maximum cost needs prices: set DARKROOM_PRICES to a price file, then repeat this")
    batch_id = find_batch(here.ledger, batch)
    before = here.ledger.batches.limit(batch_id, **changes)
    after = here.ledger.batches.steering(batch_id)
    notes = [f"it has been paused since {_local(after.paused_at)}"] if after.paused_at is not None else []
    if prices is not None and (used := _used_up(here, after, prices)) is not None:
        notes.append(f"{prices.text(used)} are already spent or reserved, so nothing more of it is submitted")
    return _steered(
        here, "limit", batch_id, is_changed=before != after, told=_limits_of(after, prices), notes=tuple(notes)
    )


def _open(here: LedgerServices, batch: str) -> str:
    """Return the id of a batch that is not complete."""
    batch_id = find_batch(here.ledger, batch)
    found = here.ledger.batches.steering(batch_id)
    if found.completed_at is not None and not OPEN & here.ledger.generations.counts(batch_id).keys():
        raise RequestInvalid(f"the batch {found.name!r} is complete: none of it is queued or under way")
    return batch_id


def _queued_and_others(here: LedgerServices, batch_id: str) -> tuple[int, dict[str, int]]:
    """Return how many are queued, and how many are in each other state."""
    counts = here.ledger.generations.counts(batch_id)
    return counts.get(State.QUEUED, 0), {str(state): n for state, n in counts.items() if state is not State.QUEUED}


def _under_way(here: LedgerServices, batch_id: str) -> int:
    counts = here.ledger.generations.counts(batch_id)
    return sum(number for state, number in counts.items() if state in OPEN - {State.QUEUED})


def _steered(
    here: LedgerServices, action: str, batch_id: str, *, is_changed: bool, told: str,
    done: Mapping[str, int] = MappingProxyType({}), left: Mapping[str, int] = MappingProxyType({}),
    notes: tuple[str, ...] = (),
) -> Steered:  # fmt: skip
    after = here.ledger.batches.steering(batch_id)
    return Steered(
        action=action, after=after, is_changed=is_changed, told=told, done=done, left=left, notes=notes,
        under_way=_under_way(here, batch_id), wakes=(Step.DISPATCH,) if is_changed and not after.is_stopped else (),
    )  # fmt: skip


def _limits_of(after: Steering, prices: Prices | None) -> str:
    cost = after.max_cost
    found = [
        f"starts at {_local(after.start_at)}" if after.start_at is not None else "",
        f"at most {prices.text(cost) if prices is not None else as_text(cost)}" if cost is not None else "",
        f"at most {after.max_in_flight} in flight" if after.max_in_flight is not None else "",
    ]
    return ", ".join(filter(None, found)) or "no limits"


def _used_up(here: LedgerServices, after: Steering, prices: Prices) -> int | None:
    """Return what it has used if that is its whole allowance; None if something is left."""
    standings = here.ledger.budgets.standings(prices) if after.max_cost is not None else ()
    return next((cap.used for cap in standings if cap.key == after.id and not cap.left), None)


def _local(at: datetime) -> str:
    return f"{at.astimezone():%Y-%m-%d %H:%M}"
