"""Events that subscribers get again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from tasks.usecases.events.log import EventSelection, filter_of, position_of
from tasks.usecases.services import LedgerServices
from worker.errors import NotFound, RequestInvalid
from worker.ledger.events import Resent
from worker.steps import Step
from worker.subscribers import is_wanted, patterns


@dataclass(frozen=True, slots=True, kw_only=True)
class ResendRequest:
    """Events by their public ids, to one subscriber or to all; or all that one subscriber gets and that are `since`.

    Raises RequestInvalid for any other combination.
    """

    ids: Sequence[str] = ()
    since: timedelta | None = None
    subscriber: str | None = None

    def __post_init__(self) -> None:
        if bool(self.ids) == (self.since is not None):
            raise RequestInvalid("give either IDs, or --since with --subscriber")
        if self.since is not None and self.subscriber is None:
            raise RequestInvalid("--since needs --subscriber: the one that lost events")


@dataclass(frozen=True, slots=True)
class ResendResult:
    by_subscriber: Mapping[str, Resent]
    wakes: tuple[Step, ...]


def resend(here: LedgerServices, request: ResendRequest) -> ResendResult:
    """Have events delivered again, oldest first and with their ids. Safe to repeat.

    Raises NotFound for an unknown subscriber, RequestInvalid and EventsPruned for an unknown event; nothing is sent
    then.
    """
    if request.since is None:
        numbers: Sequence[int] = [position_of(here, one) for one in request.ids]
    else:
        wanted = EventSelection(since=request.since)
        kinds = patterns(here.settings.darkroom_notify_events)
        of_theirs = replace(filter_of(here, wanted), is_wanted=lambda kind: is_wanted(kind, kinds))
        numbers = here.ledger.events.newest_ids(of_theirs)
    names = subscriber_names(here, request.subscriber)
    found = {name: here.ledger.events.resend(name, numbers) for name in names}
    return ResendResult(found, (Step.NOTIFY,) if any(one.resent for one in found.values()) else ())


def subscriber_names(here: LedgerServices, name: str | None) -> Sequence[str]:
    """Return the names of all subscribers, or this one. Raises NotFound if it does not exist, or none does."""
    known = [one.name for one in here.settings.subscribers]
    if not known:
        raise NotFound("there is no subscriber: set DARKROOM_NOTIFY_URLS or DARKROOM_NOTIFY_TASKS")
    if name is not None and name not in known:
        raise NotFound(f"there is no subscriber {name!r}; there are: {', '.join(known)}")
    return known if name is None else [name]
