"""Checks a restored ledger against the bucket and the providers' lists; a person resumes submissions."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from tasks.restore_marker import keep_watch, read, write
from tasks.usecases.adopting import adopt
from tasks.usecases.comparing import PAGE, Compared, compare
from tasks.usecases.pages import Pages, in_pages
from worker.errors import ArchiveError, ConfigurationError, DarkroomError
from worker.generation import State, Verdict
from worker.ledger.generations import Place
from worker.ledger.restore_guard import Gate, Marker
from worker.secrets import title_of
from worker.services import Services
from worker.steps import Step

#: how far back to read the lists by default
_USUAL = timedelta(hours=24)
#: the tolerated difference between a provider's clock and ours
_EARLIER = timedelta(minutes=15)
_MOST_CALLBACKS = 1000


@dataclass(frozen=True, slots=True)
class ReconcileRequest:
    """`since`: how far back to read the lists. `confirmed_by`: who resumes submissions; None: only compare."""

    since: timedelta | None = None
    confirmed_by: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """`no_marker`: why the bucket's marker is unknown; `callbacks`: ids of callbacks for unknown submissions.

    `adopted`: (task_id, generation) of the imported tasks; `obstacle`: why submissions cannot resume now.
    """

    gate: Gate | None
    marker: Marker | None
    no_marker: str | None
    since: datetime
    compared: Sequence[Compared]
    callbacks: Sequence[int]
    queued: int
    obstacle: str | None
    opened: bool = False
    adopted: Sequence[tuple[str, str]] = ()

    @property
    def is_stopped(self) -> bool:
        return self.gate is not None and self.gate.closed_at is not None

    @property
    def wakes(self) -> tuple[Step, ...]:
        """The steps that have work now."""
        return (Step.DISPATCH, Step.ARCHIVE, Step.POLL) if self.opened else ()


def reconcile(here: Services, request: ReconcileRequest, pages: Pages = in_pages) -> Report:
    """Compare; if confirmed, submissions are paused and there is no obstacle, import the tasks and resume.

    Raises DarkroomError for a task that cannot be imported; submissions then stay paused.
    """
    keep_watch(here)
    report = _report(here, request.since, pages)
    if request.confirmed_by is None or not report.is_stopped or report.obstacle is not None:
        return report
    # Before anything is submitted, so that queued generations found at the provider are not submitted again.
    adopted = _adopted(here, report)
    _open(here, report, request.confirmed_by)
    queued = here.ledger.generations.counts().get(State.QUEUED, 0)
    return replace(report, gate=here.ledger.restore.state(), opened=True, adopted=adopted, queued=queued)


def _report(here: Services, since: timedelta | None, pages: Pages) -> Report:
    marker = no_marker = None
    try:
        marker = read(here.archive)
    except (ArchiveError, ConfigurationError) as error:
        no_marker = str(error)
    gate = here.ledger.restore.state()
    start = _start(here.clock(), gate, since)
    aside = here.ledger.callbacks.dead(_MOST_CALLBACKS)
    compared = tuple(compare(here, start, pages))
    return Report(
        gate=gate,
        marker=marker,
        no_marker=no_marker,
        since=start,
        compared=compared,
        callbacks=[one.id for one in aside if one.verdict is Verdict.ORPHAN and one.received_at >= start],
        queued=here.ledger.generations.counts().get(State.QUEUED, 0),
        obstacle=_obstacle(no_marker, compared),
    )


def _start(now: datetime, gate: Gate | None, since: timedelta | None) -> datetime:
    if since is not None:
        return now - since
    in_order = gate.compared_at if gate and gate.closed_at else None
    return in_order - _EARLIER if in_order else now - _USUAL


def _obstacle(no_marker: str | None, compared: Sequence[Compared]) -> str | None:
    """Return why submissions cannot resume now."""
    if no_marker:
        return f"the bucket is unreachable: {no_marker}"
    silent = [one for one in compared if one.trouble]
    if silent:
        names = "; ".join(title_of(one.provider, one.account) for one in silent)
        return f"{names} could not be compared: try again, or remove its key so that nothing is submitted there"
    return None


def _adopted(here: Services, report: Report) -> list[tuple[str, str]]:
    """Import the tasks that Darkroom sent and this ledger does not have; return task_id and generation of each."""
    adopted = []
    cause = "found in the provider's list"
    # These tasks were paid for, whatever the budgets are.
    prices = here.prices
    for one in report.compared:
        for start in range(0, len(one.ours), PAGE):
            page = one.ours[start : start + PAGE]
            whose = one.provider, one.account
            done = adopt(here, whose, page, one.waiting, cause=cause, prices=prices)
            for task, (place, _) in zip(page, done, strict=True):
                if place.place is Place.REFUSED:
                    # The ledger would pay again for a task that it does not have.
                    what = f"task {task.outcome.task_id} of {title_of(*whose)} cannot be imported ({place.error})"
                    raise DarkroomError(f"{what}; submissions stay paused")
            adopted += [
                (str(task.outcome.task_id), str(place.generation_id))
                for task, (place, is_new) in zip(page, done, strict=True)
                if is_new
            ]
    return adopted


def _open(here: Services, report: Report, by: str) -> None:
    # The bucket first: if the ledger then stays paused, repeating the command completes this.
    following = here.ledger.restore.next_marker(report.marker)
    write(here.archive, following)
    here.ledger.restore.resume(following, by)
