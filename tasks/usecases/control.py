"""Cancel and retry generations; resume paused accounts."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from tasks.usecases.providers import require_provider
from tasks.usecases.selection import Selection, selected
from tasks.usecases.services import LedgerServices
from worker.errors import ConfigurationError
from worker.generation import State
from worker.providers import account_keys
from worker.settings import Settings
from worker.steps import Step

_SENT = "already submitted and charged; too late to cancel"
_KEPT: Mapping[State, str] = {
    State.SUBMITTING: "being submitted right now; too late to cancel",
    State.SUBMITTED: _SENT,
    State.UNCONFIRMED: "may have been submitted and charged; too late to cancel",
    State.SUCCEEDED: _SENT,
    State.ARCHIVED: "already finished; nothing to cancel",
    State.EXPIRED: "already finished; nothing to cancel",
    State.FAILED: "already finished; nothing to cancel",
    State.DELETED: "already deleted; nothing to cancel",
}
_NOT_AGAIN: Mapping[State, str] = {
    State.UNCONFIRMED: "the provider may have accepted and charged it; check its dashboard first, "
    "then record what you found with `darkroom resolve`",
    State.FAILED: "it failed while this command ran; run the command again",
    State.ARCHIVED: "it succeeded; to get another result, submit it again",
    State.CANCELLED: "it was cancelled; submit it again",
    State.DELETED: "it was deleted, and its request with it",
}
_MAY_COME = (
    "its provider has charged it and may still deliver it; Darkroom polls it at {at:%H:%M:%S}; "
    "--may-pay-twice submits it again now"
)
_STILL_GOING = "still in progress; nothing to retry"
_OVER = (State.FAILED, State.EXPIRED)


@dataclass(frozen=True, slots=True)
class RetryRequest:
    """For a batch: the failed and expired ones. `may_pay_twice`: include those that the provider may still deliver."""

    selection: Selection
    may_pay_twice: bool = False


@dataclass(frozen=True, slots=True)
class ResumeRequest:
    """Without an account: all accounts of the provider."""

    provider: str
    account: str | None = None


@dataclass(frozen=True, slots=True)
class Decided:
    """A generation and its new state. `is_done`: the request was carried out; `message`: the result, or why not."""

    generation_id: str
    state: State
    is_done: bool
    message: str


@dataclass(frozen=True, slots=True)
class Decisions:
    """`wakes`: the steps that have work now."""

    generations: tuple[Decided, ...]
    wakes: tuple[Step, ...]

    @property
    def is_all_done(self) -> bool:
        return all(one.is_done for one in self.generations)


@dataclass(frozen=True, slots=True)
class Resumed:
    """The accounts that were paused or throttled, each with the pause's end where a clock that was ahead had set it."""

    accounts: Mapping[str, datetime | None]
    wakes: tuple[Step, ...]


def cancel(here: LedgerServices, selection: Selection) -> Decisions:
    """Cancel what was not submitted yet; for a batch, whatever is still queued.

    Raises NotFound before any change; LedgerUnavailable states how many were done before.
    """
    after = here.ledger.generations.cancel(selected(here.ledger, selection, [State.QUEUED]))

    def decided(generation_id: str, state: State) -> Decided:
        is_done = state is State.CANCELLED
        return Decided(generation_id, state, is_done, "cancelled" if is_done else f"{state}: {_KEPT[state]}")

    return Decisions(tuple(decided(*one) for one in after.items()), ())


def retry(here: LedgerServices, request: RetryRequest) -> Decisions:
    """Submit failed generations again, fetch expired ones again, and retry waiting ones now.

    Raises as `cancel` does.
    """
    ledger = here.ledger
    chosen = selected(ledger, request.selection, _OVER)
    before = {one.id: one.state for one in ledger.generations.get(chosen)}
    after = ledger.generations.retry(chosen, may_pay_twice=request.may_pay_twice)
    changed = {
        one
        for one, state in after.items()
        if state is State.SUCCEEDED or (state != before[one] and before[one] in _OVER)
    }
    awaited = ledger.generations.awaited([one for one in chosen if one not in changed])

    def message(generation_id: str, state: State) -> str:
        if generation_id in changed:
            if before[generation_id] is State.SUCCEEDED:
                return "succeeded: archiving the missing assets now"
            again = state is State.QUEUED
            return "queued: submitting it again" if again else "succeeded: requesting its links again"
        if generation_id in awaited:
            return f"failed: {_MAY_COME.format(at=awaited[generation_id].astimezone())}"
        return f"{state}: {_NOT_AGAIN.get(state, _STILL_GOING)}"

    decided = tuple(Decided(one, state, one in changed, message(one, state)) for one, state in after.items())
    return Decisions(decided, (Step.DISPATCH, Step.ARCHIVE) if changed else ())


def resume(here: LedgerServices, request: ResumeRequest) -> Resumed:
    """End accounts' pause, open breaker and reduced rate. Raises ConfigurationError for an unknown account."""
    provider, account = request.provider, request.account
    require_provider(provider)
    resumed = here.ledger.dispatch.resume_account(provider, account)
    if not resumed and account is not None:
        _require_account(provider, account, here.settings)
    return Resumed(resumed, (Step.DISPATCH,) if resumed else ())


def _require_account(provider: str, account: str, settings: Settings) -> None:
    """Raise ConfigurationError for an unknown account: a typo would look like an account that works."""
    known = account_keys(provider, settings)
    if account not in known:
        raise ConfigurationError(f"{provider} has no account {account!r}; configured: {', '.join(known)}")
