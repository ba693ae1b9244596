"""Unconfirmed submissions: what is known about each, and how a person resolves them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType

from tasks.usecases.names import find_generation
from tasks.usecases.person import Person
from tasks.usecases.providers import require_provider
from tasks.usecases.selection import Selection, select
from tasks.usecases.services import LedgerServices
from worker.errors import NotFound
from worker.generation import Operation, State
from worker.ledger.submission import Decision, Unclear
from worker.pricing import tier_of
from worker.providers import PROVIDERS, Listed, provider_class
from worker.secrets import DEFAULT_ACCOUNT
from worker.services import Services
from worker.steps import Step

__all__ = ["Decision", "ResolveRequest", "Resolved", "TaskRequest", "Unclear", "Unconfirmed", "ask_now",
           "list_unconfirmed", "price_at_stake", "resolve", "resolve_to_task"]  # fmt: skip

_DONE = {
    Decision.CHARGED: "failed: charged, without a result",
    Decision.NOT_CHARGED: "failed: not charged; `darkroom retry` submits it again",
    Decision.RESUBMIT: "queued: it will be submitted again",
}


@dataclass(frozen=True, slots=True)
class ResolveRequest:
    """`attempt_id`: with one generation, the submission that the person reviewed; None: whichever is unconfirmed."""

    selection: Selection
    decision: Decision
    person: Person
    attempt_id: str | None = None


@dataclass(frozen=True, slots=True)
class TaskRequest:
    """The provider accepted and charged it as this task. `attempt_id`: as in `ResolveRequest`."""

    name: str
    task_id: str
    person: Person
    attempt_id: str | None = None


@dataclass(frozen=True, slots=True)
class Resolved:
    """Each generation once. `wakes`: the steps that have work now."""

    generation_ids: tuple[str, ...]
    decision: Decision
    message: str
    wakes: tuple[Step, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Unconfirmed:
    """`listed`: how the provider's list would show it; `horizon_at`: until then it may still resolve itself."""

    unclear: Unclear
    listed: Listed
    horizon_at: datetime
    age: timedelta
    is_over: bool

    @property
    def is_looked_for(self) -> bool:
        return self.listed is not Listed.NO


def list_unconfirmed(
    here: LedgerServices,
    provider: str | None = None,
    labels: Mapping[str, str] = MappingProxyType({}),
    *,
    limit: int | None = None,
) -> tuple[Unconfirmed, ...]:
    """Return all, or one provider's, with all these labels, oldest first; `limit`: the maximum number to examine.

    Raises ConfigurationError for an unknown provider.
    """
    if provider is not None:
        require_provider(provider)
    now, calls_back = here.clock(), here.settings.public_url is not None
    found = []
    unclear = here.ledger.submissions.unconfirmed(provider, limit)
    if labels:
        theirs = here.ledger.generations.with_labels([one.generation for one in unclear], labels)
        known = {one.id for one in theirs}
        unclear = [one for one in unclear if one.generation.id in known]
    for one in unclear:
        listed = _listed(one.generation.provider, one.generation.operation, calls_back=calls_back)
        over = one.sent_at + here.settings.horizon
        found.append(
            Unconfirmed(unclear=one, listed=listed, horizon_at=over, age=now - one.sent_at, is_over=now >= over)
        )
    return tuple(found)


def ask_now(here: LedgerServices, generation_ids: Sequence[str]) -> tuple[Step, ...]:
    """Have the provider polled now for unconfirmed generations, which is free; return the steps that have work."""
    return (Step.POLL,) if here.ledger.submissions.poll_now(generation_ids) else ()


def price_at_stake(here: Services, one: Unconfirmed) -> str | None:
    """Return what the submission cost if it was accepted, with its currency; None without prices."""
    prices, generation = here.prices, one.unclear.generation
    if prices is None or generation.is_test:
        return None
    return prices.text(prices.price(generation.provider, generation.operation, tier_of(generation.request)))


def resolve(here: LedgerServices, request: ResolveRequest) -> Resolved:
    """Apply the decision to all of them or to none.

    Raises NotFound, or RequestInvalid for one that is not unconfirmed or has been submitted again since; then nothing
    changes.
    """
    chosen = tuple(select(here.ledger, request.selection, [State.UNCONFIRMED]).ids)
    here.ledger.submissions.resolve(chosen, request.decision, request.person, attempt_id=request.attempt_id)
    return Resolved(chosen, request.decision, _DONE[request.decision], (Step.DISPATCH,))


def resolve_to_task(here: Services, request: TaskRequest) -> Resolved:
    """Link the task to the submission and poll its result.

    Raises as `resolve` does, and NotFound for a task that the provider does not have.
    """
    chosen = (find_generation(here.ledger, request.name),)
    _check_task(here, chosen[0], request.task_id)
    here.ledger.submissions.resolve(
        chosen, Decision.CHARGED, request.person, request.task_id, attempt_id=request.attempt_id
    )
    message = f"submitted: it is task {request.task_id}; its result is requested now"
    return Resolved(chosen, Decision.CHARGED, message, (Step.POLL, Step.DISPATCH))


def _listed(provider: str, operation: Operation, *, calls_back: bool) -> Listed:
    """Return how the provider's list would show it; without a callback URL, by its request if the list has that."""
    if provider not in PROVIDERS:
        return Listed.NO
    kind = provider_class(provider)
    if calls_back or kind.listed is not Listed.BY_CALLBACK_URL:
        return kind.listed
    return Listed.BY_REQUEST if operation in kind.shown else Listed.NO


def _check_task(here: Services, generation_id: str, task_id: str) -> None:
    """Raise NotFound for a task that the provider does not have: if linked, it would soon fail."""
    (generation,) = here.ledger.generations.get([generation_id])
    provider = here.provider_of(generation)
    if task_id not in provider.fetch([task_id]):
        account = generation.account or DEFAULT_ACCOUNT
        # Each account sees only its own tasks.
        whose = "" if account == DEFAULT_ACCOUNT else f" of its account {account}"
        raise NotFound(f"{provider.title} has no task {task_id}{whose}: check its id; nothing was changed")
