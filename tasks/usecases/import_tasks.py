"""Imports tasks that a provider lists and the ledger does not have, if they have something to archive."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from tasks.usecases.adopting import adopt, has_result, orphan_of
from tasks.usecases.comparing import Waiting
from tasks.usecases.pages import Pages, in_pages
from tasks.usecases.still_to_follow import StillToFollow
from worker.errors import QueryFailed
from worker.generation import Operation, Status
from worker.ledger.generations import Place, Placed
from worker.providers import ListedTask
from worker.secrets import title_of
from worker.services import Services
from worker.steps import Step

#: tasks imported per transaction
PAGE = 100


@dataclass(frozen=True, slots=True)
class ImportRequest:
    """`since`: how far back to read the provider's list."""

    provider: str
    since: timedelta
    dry_run: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundTask:
    """A task that the ledger does not have.

    `is_taken`: it is or would be imported; `message`: why not. `generation_id`: the generation that it is, or may be.
    `left`: why it is skipped, in a few words.
    """

    task_id: str
    operation: Operation
    prompt: str
    created_at: datetime | None
    generation_id: str | None
    is_taken: bool
    message: str
    left: str
    needs_decision: bool


@dataclass(frozen=True, slots=True)
class FoundTasks:
    """The tasks on one page of the list. `wakes`: the steps that have work now."""

    tasks: tuple[FoundTask, ...]
    wakes: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Imported:
    """Counts: `taken` (imported), `left` (skipped), already `known`. `unread`: accounts without a readable list."""

    taken: int
    left: int
    known: int
    unread: tuple[str, ...]


def import_tasks(
    here: Services, request: ImportRequest, tell: Callable[[FoundTasks], None], pages: Pages = in_pages
) -> Imported:
    """Import the tasks that a provider lists; nothing is sent. `tell` is called after each page is stored.

    Safe to repeat. Raises ConfigurationError for a provider that is unknown or has no key, RequestInvalid for one
    without a list.
    """
    name = request.provider
    here.provider(name)
    counts: Counter[str] = Counter()
    unread = []
    for account in here.accounts(name):
        try:
            counts += _import(here, (name, account), request, tell, pages)
        except QueryFailed as error:
            # Each account has its own list: continue with the others.
            unread.append(f"{title_of(name, account)}: {error}")
    return Imported(counts["taken"], counts["left"], counts["known"], tuple(unread))


def _import(
    here: Services, whose: tuple[str, str], request: ImportRequest, tell: Callable[[FoundTasks], None], pages: Pages
) -> Counter[str]:
    """Import the tasks of one account."""
    counts: Counter[str] = Counter()
    name, account = whose
    since: datetime = here.clock() - request.since
    ours = _Ours(here, name)
    for page in pages(title_of(name, account), here.provider(name, account).recent(since), PAGE):
        placed = here.ledger.generations.match_tasks(name, [orphan_of(task) for task in page], account)
        obstacles = [ours.obstacle(task, place) for task, place in zip(page, placed, strict=True)]
        taken = [
            _is_wanted(task, place) and obstacle is None
            for task, place, obstacle in zip(page, placed, obstacles, strict=True)
        ]
        if not request.dry_run and any(taken):
            placed, taken = _take(here, whose, page, placed, taken)
        wakes = (Step.ARCHIVE, Step.POLL) if not request.dry_run and any(taken) else ()
        found = []
        for task, place, is_taken, obstacle in zip(page, placed, taken, obstacles, strict=True):
            is_known = place.place is Place.KNOWN
            counts["known" if is_known else "taken" if is_taken else "left"] += 1
            if not is_known:
                message = _message(task, place, is_taken, dry_run=request.dry_run)
                left = _left(task, place)
                if obstacle is not None:
                    message, left = f"skipped: it was submitted from here; {obstacle}", "would be paid for again"
                task_id = str(task.outcome.task_id)
                found.append(
                    FoundTask(
                        task_id=task_id,
                        operation=task.operation,
                        prompt=task.prompt,
                        created_at=task.created_at,
                        generation_id=place.generation_id,
                        is_taken=is_taken,
                        message=message,
                        left=left,
                        needs_decision=place.place is Place.DOUBTFUL,
                    )
                )
        tell(FoundTasks(tuple(found), wakes))
    return counts


def _is_wanted(task: ListedTask, place: Placed) -> bool:
    """Return whether to import it: a foreign task that failed has nothing to archive, one of ours has an outcome."""
    return place.place is Place.MARKED or (place.place is Place.NEW and has_result(task))


class _Ours:
    """A restored ledger's own versions of tasks sent from here, which would be paid for again despite an import."""

    def __init__(self, here: Services, provider: str) -> None:
        self._provider = provider
        self._to_follow = StillToFollow(here, with_queued=True)
        self._waiting = Waiting(here.ledger, provider)

    def obstacle(self, task: ListedTask, place: Placed) -> str | None:
        """Return why the task must not be imported now; None if it may be."""
        if place.place is not Place.NEW or task.attempt_id is None:
            return None
        if alike := self._waiting.like(task):
            return f"it is probably {alike[0].id}, still queued: use `darkroom reconcile --confirm`, or cancel that one"
        if self._to_follow.may_be(self._provider, task):
            return "it may be a follow-up that is still to be created: repeat this when the workers have created those"
        return None


def _take(
    here: Services, whose: tuple[str, str], page: Sequence[ListedTask], placed: Sequence[Placed], wanted: Sequence[bool]
) -> tuple[list[Placed], list[bool]]:
    """Store the wanted tasks; return each one's place and which of them changed."""
    after = [(one, False) for one in placed]
    indexes = [index for index, is_wanted in enumerate(wanted) if is_wanted]
    adopted = adopt(here, whose, [page[index] for index in indexes], cause="rescued")
    for index, one in zip(indexes, adopted, strict=True):
        after[index] = one
    return [place for place, _ in after], [is_taken for _, is_taken in after]


def _message(task: ListedTask, place: Placed, is_taken: bool, *, dry_run: bool) -> str:
    if place.place is Place.MARKED:
        owner = f"{place.generation_id}, whose task id was unknown"
        return f"{'would be found' if dry_run else 'found'}: it is {owner}" if is_taken else f"skipped: it is {owner}"
    if place.place is Place.DOUBTFUL:
        return (
            f"skipped: it may be {place.generation_id}, submitted at that time and with an unknown task id; if so: "
            f"darkroom resolve {place.generation_id} --charged --task-id {task.outcome.task_id}"
        )
    if place.place is Place.REFUSED:
        return f"skipped: it cannot be stored: {place.error}"
    if is_taken:
        return "would be imported" if dry_run else f"imported as {place.generation_id}"
    return (
        "skipped: it failed at the provider"
        if task.outcome.status is Status.FAILED
        else "skipped: it has no readable result"
    )


def _left(task: ListedTask, place: Placed) -> str:
    """Return why a task that is not imported is skipped."""
    words = {
        Place.MARKED: "submitted from here, no result yet",
        Place.DOUBTFUL: "may be ours (see above)",
        Place.REFUSED: "cannot be stored",
    }
    failed = task.outcome.status is Status.FAILED
    return words.get(place.place, "failed at the provider" if failed else "without a readable result")
