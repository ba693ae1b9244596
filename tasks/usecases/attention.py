"""What needs a person's attention now, most urgent first."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum, StrEnum

from tasks.usecases.at_risk import at_risk
from tasks.usecases.dead_letters import LetterKind, list_dead
from tasks.usecases.resolve import list_unconfirmed
from tasks.usecases.services import LedgerServices
from tasks.usecases.subscribers import SubscriberState, list_subscribers
from tasks.waiting import Cause, Wait, waits_of
from worker.generation import State

#: rows read per list; more are reported as "200 or more"
MOST = 200
#: shorter pauses need nobody's attention
_SHORT = timedelta(minutes=5)


class Urgency(IntEnum):
    #: money or results are being lost, or everything has stopped
    NOW = 0
    #: this will happen if nobody acts
    SOON = 1
    #: it can wait for the morning
    LATER = 2


class Subject(StrEnum):
    """Where to find the remedy."""

    RESTORE = "restore"
    AT_RISK = "at-risk"
    UNCONFIRMED = "unconfirmed"
    ACCOUNTS = "accounts"
    WORKERS = "workers"
    DEAD_LETTERS = "dead"
    SUBSCRIBERS = "subscribers"
    SPEND = "spend"
    REVIEW = "review"


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """Something to attend to.

    `what`: a sentence without its end; `consequence`: of doing nothing; `number`: a count, if any.
    """

    urgency: Urgency
    subject: Subject
    what: str
    consequence: str
    number: int | None = None
    is_more: bool = False
    since: datetime | None = None


def needs(here: LedgerServices) -> Sequence[Need]:
    """Return what needs a person now, most urgent first, using a constant number of bounded queries."""
    found = [*_waits(here), *_results(here), *_unconfirmed(here), *_dead(here), *_subscribers(here)]
    return sorted(found, key=lambda one: one.urgency)


_OF_CAUSE = {
    Cause.RESTORE_GUARD: (Urgency.NOW, Subject.RESTORE, "nothing is submitted until somebody has compared the ledger"),
    Cause.WORKERS: (Urgency.NOW, Subject.WORKERS, "nothing is submitted, and results are not stored"),
    Cause.CLOCK: (Urgency.NOW, Subject.WORKERS, "lost callbacks and forgotten work are not found"),
    Cause.PAUSE: (Urgency.SOON, Subject.ACCOUNTS, "work for this account stays in the queue"),
    Cause.BREAKER: (Urgency.SOON, Subject.ACCOUNTS, "submissions probe it one at a time, and all others wait"),
    Cause.BUDGET: (Urgency.LATER, Subject.SPEND, "work that exceeds this budget waits"),
    Cause.DOWNLOAD: (Urgency.SOON, Subject.AT_RISK, "these results are not stored, and their links will expire"),
}


def _waits(here: LedgerServices) -> Iterator[Need]:
    for wait in waits_of(here.ledger, here.settings):
        if wait.cause is Cause.APPROVAL and wait.subject == "":
            yield _of_approvals(wait)
        elif wait.cause in _OF_CAUSE and not _passes(wait, here.clock()):
            urgency, subject, consequence = _OF_CAUSE[wait.cause]
            yield Need(
                urgency=Urgency.NOW if wait.fails else urgency,
                subject=subject,
                what=wait.told,
                consequence=consequence,
                number=wait.count,
                since=wait.since,
            )


def _passes(wait: Wait, now: datetime) -> bool:
    """Return whether it is a short rate-limit pause, which ends by itself."""
    is_short = wait.until is not None and wait.until - now < _SHORT
    return wait.cause is Cause.PAUSE and is_short and not wait.fails


def _of_approvals(wait: Wait) -> Need:
    number = wait.count or 0
    return Need(
        urgency=Urgency.LATER,
        subject=Subject.REVIEW,
        what="1 decision is waiting" if number == 1 else f"{number:,} decisions are waiting",
        consequence="when its time is up, each recipe does what it specifies for that case",
        number=number,
        since=wait.since,
    )


def _results(here: LedgerServices) -> Iterator[Need]:
    risky = at_risk(here).assets
    lost = here.ledger.generations.counts().get(State.EXPIRED, 0)
    if risky:
        first = risky[0].left
        is_late = first < timedelta(hours=1)
        yield Need(
            urgency=Urgency.NOW if is_late else Urgency.SOON,
            subject=Subject.AT_RISK,
            what="1 paid result may be lost" if len(risky) == 1 else f"{len(risky):,} paid results may be lost",
            consequence="the first link has already expired" if first <= timedelta() else "their links will expire",
            number=len(risky),
        )
    if lost:
        yield Need(
            urgency=Urgency.NOW,
            subject=Subject.DEAD_LETTERS,
            what="1 paid generation expired" if lost == 1 else f"{lost:,} paid generations expired",
            consequence="their links expired before everything was stored; requesting new links is free",
            number=lost,
        )


def _unconfirmed(here: LedgerServices) -> Iterator[Need]:
    found = list_unconfirmed(here, limit=MOST)
    over = [one for one in found if one.is_over]
    if over:
        number = len(over)
        yield Need(
            urgency=Urgency.SOON,
            subject=Subject.UNCONFIRMED,
            what="1 submission has an unknown outcome"
            if number == 1
            else f"{number:,} submissions have an unknown outcome",
            consequence="possibly charged; not resubmitted until somebody records what happened",
            number=number,
            is_more=len(found) == MOST,
            since=over[0].unclear.sent_at,
        )


def _dead(here: LedgerServices) -> Iterator[Need]:
    letters = [one for one in list_dead(here, most=MOST) if one.kind is not LetterKind.ASSETS]
    if letters:
        number = len(letters)
        yield Need(
            urgency=Urgency.LATER,
            subject=Subject.DEAD_LETTERS,
            what="1 dead letter" if number == 1 else f"{number:,} dead letters",
            consequence="no longer retried",
            number=number,
            is_more=number >= MOST,
            since=min(one.at for one in letters),
        )


def _subscribers(here: LedgerServices) -> Iterator[Need]:
    for one in list_subscribers(here):
        if one.state not in {SubscriberState.FAILING, SubscriberState.DISABLED}:
            continue
        is_disabled = one.state is SubscriberState.DISABLED
        row = one.row
        yield Need(
            urgency=Urgency.LATER if is_disabled else Urgency.SOON,
            subject=Subject.SUBSCRIBERS,
            what=f"subscriber {one.name} {'is disabled' if is_disabled else 'is failing'}",
            consequence="it gets nothing" if is_disabled else "events are abandoned after ten tries over 14 hours",
            since=row and (row.disabled_at or row.failing_since),
        )
