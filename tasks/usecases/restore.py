"""Checks a restored ledger against the bucket and the providers' lists; a person resumes submissions."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from tasks.restore_marker import keep_watch, read, write
from tasks.usecases.adopting import adopt
from tasks.usecases.comparing import PAGE, Compared, compare
from tasks.usecases.pages import Pages, in_pages
from tasks.usecases.services import LedgerServices
from tasks.usecases.still_to_follow import StillToFollow
from worker.errors import ArchiveError, ConfigurationError, DarkroomError
from worker.generation import State, Verdict
from worker.ledger.generations import Place
from worker.ledger.restore_guard import Gate, Marker
from worker.providers import ListedTask
from worker.secrets import title_of
from worker.services import Services
from worker.steps import Step

#: how far back to read the lists by default
_USUAL = timedelta(hours=24)
#: the tolerated difference between a provider's clock and ours
_EARLIER = timedelta(minutes=15)
_MOST_CALLBACKS = 1000
#: maximum number of tasks that an obstacle names
_SHOWN = 3


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
        if self.opened:
            return (Step.DISPATCH, Step.ARCHIVE, Step.POLL)
        return (Step.ARCHIVE, Step.POLL) if self.adopted else ()


def guard_state(here: LedgerServices) -> Gate | None:
    """Return the state of the restore guard; None if nothing has been compared yet."""
    return here.ledger.restore.state()


def reconcile(here: Services, request: ReconcileRequest, pages: Pages = in_pages) -> Report:
    """Compare; if confirmed, submissions are paused and there is no obstacle, import the tasks and resume.

    Raises DarkroomError for a task that cannot be imported; submissions then stay paused.
    """
    keep_watch(here)
    # Before the comparison, which does not see follow-ups created meanwhile.
    before = StillToFollow(here, with_queued=False)
    report = _report(here, request.since, pages)
    if request.confirmed_by is None or not report.is_stopped or report.obstacle is not None:
        return report
    # Before anything is submitted, so that queued generations found at the provider are not submitted again.
    adopted = _adopted(here, report, lambda one, task: one.is_placed(task))
    # Nothing that is still queued, and none of its follow-ups, is at a provider.
    after = StillToFollow(here, with_queued=False)

    def may_follow(one: Compared, task: ListedTask) -> bool:
        return not one.is_placed(task) and any(to_follow.may_be(one.provider, task) for to_follow in (before, after))

    adopted += _adopted(here, report, lambda one, task: not (one.is_placed(task) or may_follow(one, task)))
    if left := [str(task.outcome.task_id) for one in report.compared for task in one.ours if may_follow(one, task)]:
        return replace(report, adopted=adopted, obstacle=_still_to_follow(left))
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
        return f"{names} could not be compared: try again, or remove the key so that nothing is submitted there"
    return None


def _still_to_follow(task_ids: Sequence[str]) -> str:
    what = "1 task" if len(task_ids) == 1 else f"{len(task_ids)} tasks"
    return (
        f"{what} of this Darkroom ({', '.join(task_ids[:_SHOWN])}{', …' if len(task_ids) > _SHOWN else ''}) may be "
        "follow-ups that this ledger has yet to create and would pay for again: let the workers run until no more "
        "are created (they submit nothing), resolve what `darkroom unconfirmed` lists, decide what `darkroom "
        "approvals` lists as it was decided before, and repeat this"
    )


def _adopted(
    here: Services, report: Report, is_wanted: Callable[[Compared, ListedTask], bool]
) -> list[tuple[str, str]]:
    """Import tasks that Darkroom sent and this ledger does not have; return task_id and generation of each."""
    adopted = []
    cause = "found in the provider's list"
    # These tasks are already paid for, whatever the budgets.
    prices = here.prices
    for one in report.compared:
        wanted = [task for task in one.ours if is_wanted(one, task)]
        for start in range(0, len(wanted), PAGE):
            page = wanted[start : start + PAGE]
            whose = one.provider, one.account
            done = adopt(here, whose, page, one.waiting, cause=cause, prices=prices)
            for task, (place, _) in zip(page, done, strict=True):
                if place.place is Place.REFUSED:
                    # Without this task, the ledger would pay for it again.
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
