"""Cancel, retry, resume: what becomes of generations that wait or are over, and of accounts that are paused."""

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

_SENT = "it was sent and is paid for; it cannot be taken back"
_KEPT: Mapping[State, str] = {
    State.SUBMITTING: "it is being sent at this moment; it cannot be taken back",
    State.SUBMITTED: _SENT,
    State.UNCONFIRMED: "it may have been sent and paid for; it cannot be taken back",
    State.SUCCEEDED: _SENT,
    State.ARCHIVED: "it is done; there is nothing to take back",
    State.EXPIRED: "it is over; there is nothing to take back",
    State.FAILED: "it is over; there is nothing to take back",
    State.DELETED: "it was deleted; there is nothing to take back",
}
_NOT_AGAIN: Mapping[State, str] = {
    State.UNCONFIRMED: "the provider may have taken it and charged for it; look there first, "
    "then say with `darkroom resolve` what you found out",
    State.FAILED: "it has failed just now; say it once more",
    State.ARCHIVED: "it succeeded; submit it anew if you want another one",
    State.CANCELLED: "it was cancelled; submit it anew",
    State.DELETED: "it was deleted, and nobody knows any more what was wished for",
}
_MAY_COME = (
    "its provider may still deliver it, which is paid for, and is asked for it at {at:%H:%M:%S}; "
    "--may-pay-twice submits it again now"
)
_STILL_GOING = "it is still going on; there is nothing to try again"
_OVER = (State.FAILED, State.EXPIRED)


@dataclass(frozen=True, slots=True)
class RetryRequest:
    """Of a batch, what failed or expired. `may_pay_twice`: also what its provider may still deliver."""

    selection: Selection
    may_pay_twice: bool = False


@dataclass(frozen=True, slots=True)
class ResumeRequest:
    """Without an account all of the provider."""

    provider: str
    account: str | None = None


@dataclass(frozen=True, slots=True)
class Decided:
    """A generation and its state afterwards. `is_done`: as was asked; `message`: what that means, or why it is not."""

    generation_id: str
    state: State
    is_done: bool
    message: str


@dataclass(frozen=True, slots=True)
class Decisions:
    """`wakes`: the steps of the flow that have work now."""

    generations: tuple[Decided, ...]
    wakes: tuple[Step, ...]

    @property
    def is_all_done(self) -> bool:
        return all(one.is_done for one in self.generations)


@dataclass(frozen=True, slots=True)
class Resumed:
    """The accounts that were paused or slowed; until when a clock that was ahead would have stopped each, if any."""

    accounts: Mapping[str, datetime | None]
    wakes: tuple[Step, ...]


def cancel(here: LedgerServices, selection: Selection) -> Decisions:
    """Take back what was not submitted yet; of a batch, what still waits.

    Raises NotFound and does nothing; and LedgerUnavailable, which says how many were decided before.
    """
    after = here.ledger.generations.cancel(selected(here.ledger, selection, [State.QUEUED]))

    def decided(generation_id: str, state: State) -> Decided:
        is_done = state is State.CANCELLED
        return Decided(generation_id, state, is_done, "cancelled" if is_done else f"{state}: {_KEPT[state]}")

    return Decisions(tuple(decided(*one) for one in after.items()), ())


def retry(here: LedgerServices, request: RetryRequest) -> Decisions:
    """Submit again what failed, fetch again what expired, and try now what waits for its next try.

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
                return "succeeded: what is not stored yet is tried now"
            again = state is State.QUEUED
            return "queued: it is submitted again" if again else "succeeded: its links are asked for again"
        if generation_id in awaited:
            return f"failed: {_MAY_COME.format(at=awaited[generation_id].astimezone())}"
        return f"{state}: {_NOT_AGAIN.get(state, _STILL_GOING)}"

    decided = tuple(Decided(one, state, one in changed, message(one, state)) for one, state in after.items())
    return Decisions(decided, (Step.DISPATCH, Step.ARCHIVE) if changed else ())


def resume(here: LedgerServices, request: ResumeRequest) -> Resumed:
    """End pause, open breaker and reduced rate of accounts. Raises ConfigurationError for one that is not set up."""
    provider, account = request.provider, request.account
    require_provider(provider)
    resumed = here.ledger.dispatch.resume_account(provider, account)
    if not resumed and account is not None:
        _require_account(provider, account, here.settings)
    return Resumed(resumed, (Step.DISPATCH,) if resumed else ())


def _require_account(provider: str, account: str, settings: Settings) -> None:
    """Raise ConfigurationError for one that is not set up: a slip of the pen would look like an account that works."""
    known = account_keys(provider, settings)
    if account not in known:
        raise ConfigurationError(f"{provider} has no account {account!r} here; there are: {', '.join(known)}")
