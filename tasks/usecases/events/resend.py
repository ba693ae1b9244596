"""Sends recorded events to subscribers again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from tasks.shown import shown
from tasks.subscriptions import subscriptions_of
from tasks.usecases.events.log import EventSelection, filter_of, position_of
from tasks.usecases.services import LedgerServices
from worker.errors import NotFound, RequestInvalid
from worker.ledger.events import DeliveryFilter, Resent
from worker.steps import Step

NO_SUBSCRIBER = "there is no subscriber: `darkroom subscriber add` one, or set DARKROOM_NOTIFY_URLS or _TASKS"


@dataclass(frozen=True, slots=True, kw_only=True)
class ResendRequest:
    """Events by public id, to one subscriber or to all; or all recent events (`since`) that one subscriber receives.

    Raises RequestInvalid for any other combination.
    """

    ids: Sequence[str] = ()
    since: timedelta | None = None
    subscriber: str | None = None

    def __post_init__(self) -> None:
        if bool(self.ids) == (self.since is not None):
            raise RequestInvalid("give either IDs, or --since with --subscriber")
        if self.since is not None and self.subscriber is None:
            raise RequestInvalid("--since needs --subscriber: the one that missed events")


@dataclass(frozen=True, slots=True)
class ResendResult:
    by_subscriber: Mapping[str, Resent]
    wakes: tuple[Step, ...]


def resend(here: LedgerServices, request: ResendRequest) -> ResendResult:
    """Have events delivered again, oldest first and with their ids. Safe to repeat.

    Raises NotFound for an unknown subscriber, RequestInvalid and EventsPruned for an unknown event; then nothing is
    sent.
    """
    if request.since is None:
        numbers: Sequence[int] = [position_of(here, one) for one in request.ids]
    else:
        numbers = here.ledger.events.newest_ids(filter_of(here, EventSelection(since=request.since)))
    known = subscriptions_of(here.ledger, here.settings)
    # Whoever names both wants the event sent even if the subscriber's filter excludes it.
    anything = bool(request.ids and request.subscriber)
    found = {
        name: here.ledger.events.resend(
            # An origin can only be sent events that one of its addresses receives.
            name,
            numbers,
            DeliveryFilter() if anything and not known[name].wanted.by_address else known[name].wanted,
        )
        for name in subscriber_names(here, request.subscriber)
    }
    return ResendResult(found, (Step.NOTIFY,) if any(one.resent for one in found.values()) else ())


def subscriber_names(here: LedgerServices, name: str | None) -> Sequence[str]:
    """Return the names of all subscribers, or only this one.

    Raises NotFound if it does not exist, or if there are none.
    """
    known = list(subscriptions_of(here.ledger, here.settings))
    if not known:
        raise NotFound(NO_SUBSCRIBER)
    if name is not None and name not in known:
        raise NotFound(f"there is no subscriber {shown(name)!r}; there are: {', '.join(known)}")
    return known if name is None else [name]
