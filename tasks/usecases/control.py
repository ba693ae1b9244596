"""Cancel and retry generations; resume paused accounts."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from tasks.shown import shown
from tasks.usecases.once import Once
from tasks.usecases.providers import require_provider
from tasks.usecases.row_versions import replaced_in
from tasks.usecases.selection import Selection, select
from tasks.usecases.services import LedgerServices
from worker.errors import ConfigurationError
from worker.failures import Category, category_of
from worker.generation import Generation, State
from worker.providers import account_keys
from worker.secrets import SANDBOX_ACCOUNT
from worker.settings import Settings
from worker.steps import Step

_PAID = "already paid for"
_FINISHED = "already finished"
_NOT_CANCELLED: Mapping[State, str] = {
    State.SUBMITTING: "it is being sent right now",
    State.SUBMITTED: _PAID,
    State.UNCONFIRMED: "perhaps already paid for",
    State.SUCCEEDED: _PAID,
    State.ARCHIVED: _FINISHED,
    State.EXPIRED: _FINISHED,
    State.FAILED: _FINISHED,
    State.DELETED: "already deleted",
}
_NOT_RETRIED: Mapping[State, str] = {
    State.UNCONFIRMED: "the provider may have accepted it and charged for it; check there, then use `darkroom resolve`",
    State.FAILED: "it failed while this command ran; run the command again",
    State.ARCHIVED: "it succeeded; to get another result, submit it again under another key",
    State.CANCELLED: "it was cancelled; submit it again",
    State.DELETED: "it was deleted, and its prompt with it",
}
_MAY_COME = (
    "the provider may still deliver it, which would be charged; the next check is at {at:%H:%M:%S}; --may-pay-twice "
    "submits it again now"
)
_REPLACED = "replaced by a new version"
_SINCE = "failed again since this was asked for"
_UNDER_WAY = "it is still under way"
_AWAITED = "may still be delivered (--may-pay-twice submits them again)"
#: states that can be retried
OVER = (State.FAILED, State.EXPIRED)
_AFTER_RETRY = (Step.DISPATCH, Step.ARCHIVE)


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryRequest:
    """For a batch: the failed and expired ones. `may_pay_twice`: include those that the provider may still deliver.

    `only`: those that failed for these reasons; empty: all. `failed_before`: what failed later is left alone, such as
    what a repeated request has already resubmitted. Without `may_submit`, nothing is paid for: only results that are
    already paid for are fetched.
    """

    selection: Selection
    may_pay_twice: bool = False
    only: frozenset[Category] = frozenset()
    failed_before: datetime | None = None
    may_submit: bool = True


@dataclass(frozen=True, slots=True)
class ResumeRequest:
    """Without an account: all accounts of the provider."""

    provider: str
    account: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """A generation and its state afterwards. `is_done`: as requested; `message`: what that means, or why not.

    `left`: in a few words why it was left alone.
    """

    generation_id: str
    state: State
    is_done: bool
    message: str
    left: str = ""
    #: when the provider is next polled for a generation that it may still deliver
    awaited: datetime | None = None


@dataclass(frozen=True, slots=True)
class Retried:
    """`wakes`: the steps that have work now; `is_replayed`: the same request was carried out before."""

    decided: Decided
    wakes: tuple[Step, ...]
    is_replayed: bool


@dataclass(frozen=True, slots=True)
class Decisions:
    """`left`: how many others of the selection were left alone, by reason. `wakes`: the steps that have work now."""

    generations: tuple[Decided, ...]
    wakes: tuple[Step, ...]
    left: Mapping[str, int] = field(default_factory=dict)

    @property
    def all_left(self) -> Counter[str]:
        """Return how many were left alone, by reason, including those requested by name."""
        return Counter(self.left) + Counter(one.left for one in self.generations if not one.is_done)

    @property
    def is_all_done(self) -> bool:
        return all(one.is_done for one in self.generations)


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryCheck:
    """What `retry` would do. `found`: what it would submit or fetch again; `left`: how many others, by reason.

    `awaited`: how many of these the provider may still deliver.
    """

    found: tuple[Generation, ...]
    awaited: int
    left: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Resumed:
    """The accounts that were paused or throttled, each with the pause's end if a clock that was ahead had set it."""

    accounts: Mapping[str, datetime | None]
    wakes: tuple[Step, ...]


def cancel(here: LedgerServices, selection: Selection) -> Decisions:
    """Cancel what is not submitted yet; for a batch, whatever is still queued.

    Raises NotFound before any change; LedgerUnavailable states how many were done before.
    """
    chosen = select(here.ledger, selection, [State.QUEUED], others=True)
    after = here.ledger.generations.cancel(chosen.ids)

    def decided(generation_id: str, state: State) -> Decided:
        is_done = state is State.CANCELLED
        message = "cancelled" if is_done else f"{state}: {_NOT_CANCELLED[state]}"
        left = "" if is_done else state
        return Decided(generation_id=generation_id, state=state, is_done=is_done, message=message, left=left)

    return Decisions(tuple(decided(*one) for one in after.items()), (), _named(chosen.left))


def count_retriable(here: LedgerServices) -> int:
    """Count failed and expired generations."""
    counts = here.ledger.generations.counts()
    return sum(counts.get(state, 0) for state in OVER)


def retry(here: LedgerServices, request: RetryRequest) -> Decisions:
    """Submit failed generations again, fetch expired ones again, and retry waiting ones now.

    Raises as `cancel` does.
    """
    ledger = here.ledger
    candidates, left = _candidates(here, request)
    before = {one.id: one.state for one in candidates}
    chosen = list(before)
    after = ledger.generations.retry(chosen, may_pay_twice=request.may_pay_twice, may_submit=request.may_submit)
    changed = {
        one
        for one, state in after.items()
        if state is State.SUCCEEDED or (state != before[one] and before[one] in OVER)
    }
    awaited = ledger.generations.awaited([one for one in chosen if one not in changed])
    generations = tuple(
        _queued_again(one, before[one], state) if one in changed else _left_alone(one, state, awaited.get(one))
        for one, state in after.items()
    )
    return Decisions(generations, _AFTER_RETRY if changed else (), left)


def check_retry(here: LedgerServices, request: RetryRequest) -> RetryCheck:
    """Return what a retry would do now; change nothing. Raises NotFound."""
    candidates, left = _candidates(here, request)
    awaited = () if request.may_pay_twice else here.ledger.generations.awaited([one.id for one in candidates])
    found = tuple(one for one in candidates if one.id not in awaited)
    return RetryCheck(found=found, awaited=len(awaited), left=left)


def _candidates(here: LedgerServices, request: RetryRequest) -> tuple[list[Generation], Counter[str]]:
    """Return what can be retried, and how many of the selection are left alone, by reason."""
    ledger = here.ledger
    selected = select(ledger, request.selection, OVER)
    left = Counter(_named(selected.left))
    found: list[Generation] = []
    candidates = ledger.generations.get(selected.ids)
    # An old version may be wanted if it was named explicitly; otherwise its row would be paid for twice.
    replaced = set[str]() if request.selection.names else replaced_in(ledger, candidates)
    for one in candidates:
        category = category_of(one.state, one.reason, one.message)
        if request.only and category not in request.only:
            left[category or one.state] += 1
        elif request.failed_before and one.finished_at and one.finished_at > request.failed_before:
            left[_SINCE] += 1
        elif one.state is State.FAILED and one.id in replaced:
            left[_REPLACED] += 1
        else:
            found.append(one)
    return found, left


def retry_once(here: LedgerServices, generation_id: str, once: Once, *, may_pay_twice: bool = False) -> Retried:
    """Retry one generation, for a program that may repeat its request: `once` is its idempotency key.

    Raises NotFound, KeyReused and KeyInUse. A request that changes nothing does not use up its key.
    """
    before, after, is_replayed = here.ledger.generations.retry_once(generation_id, once, may_pay_twice=may_pay_twice)
    if is_replayed:
        told = f"{after}: it was retried before"
        return Retried(Decided(generation_id=generation_id, state=after, is_done=True, message=told), (), is_replayed)
    if after is State.SUCCEEDED or after is not before:
        return Retried(_queued_again(generation_id, before, after), _AFTER_RETRY, is_replayed)
    awaited = here.ledger.generations.awaited([generation_id])
    return Retried(_left_alone(generation_id, after, awaited.get(generation_id)), (), is_replayed)


def _queued_again(generation_id: str, before: State, state: State) -> Decided:
    message = "succeeded: its links are requested again"
    if before is State.SUCCEEDED:
        message = "succeeded: results that are not stored yet are retried now"
    elif state is State.QUEUED:
        message = "queued: it will be submitted again"
    return Decided(generation_id=generation_id, state=state, is_done=True, message=message)


def _left_alone(generation_id: str, state: State, awaited: datetime | None) -> Decided:
    message, left = _NOT_RETRIED.get(state, _UNDER_WAY), str(state)
    if awaited is not None:
        message = _MAY_COME.format(at=awaited.astimezone())
        left = _AWAITED
    return Decided(
        generation_id=generation_id, state=state, is_done=False, message=f"{state}: {message}", left=left,
        awaited=awaited,
    )  # fmt: skip


def _named(left: Mapping[State, int]) -> dict[str, int]:
    return {str(state): number for state, number in left.items()}


def resume(here: LedgerServices, request: ResumeRequest) -> Resumed:
    """End the accounts' pause, open circuit breaker and reduced rate.

    Raises ConfigurationError for an unknown account.
    """
    provider, account = request.provider, request.account
    require_provider(provider)
    resumed = here.ledger.dispatch.resume_account(provider, account)
    if not resumed and account is not None:
        _require_account(provider, account, here.settings)
    return Resumed(resumed, (Step.DISPATCH,) if resumed else ())


def _require_account(provider: str, account: str, settings: Settings) -> None:
    """Raise ConfigurationError for an unknown account: otherwise a typo would look like a working account."""
    known = account_keys(provider, settings)
    if account != SANDBOX_ACCOUNT and account not in known:
        raise ConfigurationError(f"{provider} has no account {shown(account)!r}; configured: {', '.join(known)}")
