"""`darkroom rescue`: archive tasks that exist at the provider, and not in the ledger."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta

import click

from tasks.adopting import adopt, has_result, orphan_of
from tasks.cli.ui.context import open_services, ring
from tasks.cli.ui.duration_option import read_span
from tasks.cli.ui.list_progress import pages
from tasks.cli.ui.output import json_option, note, one_line, print_json
from worker.account_keys import title_of
from worker.errors import DarkroomError, QueryFailed
from worker.generation import Status
from worker.ledger.rescuing import Place, Placed
from worker.providers.listing import ListedTask
from worker.services import Services

#: tasks that are written down in one transaction
PAGE = 100


@click.command()
@click.option("--provider", "name", required=True, metavar="NAME", help="Whose tasks; it must have a list of them.")
@click.option("--since", callback=read_span, required=True, metavar="SPAN", help="How far back, such as 90m or 24h.")
@click.option("--dry-run", is_flag=True, help="Tell what would be taken, and change nothing.")
@json_option
def rescue(name: str, since: timedelta, dry_run: bool, as_json: bool) -> None:
    """Archive tasks that were made elsewhere, or that the ledger has forgotten.

    Nothing is submitted and nothing is charged. Repeating it does no harm: what was taken is known from then on.
    """
    told: Counter[str] = Counter()
    with open_services() as here:
        # An unknown provider, or one without its key, is told as that.
        here.provider(name)
        troubles = []
        for account in here.accounts(name):
            try:
                told += _rescue(here, name, account, here.clock() - since, dry_run=dry_run, as_json=as_json)
            except QueryFailed as error:
                # The other accounts have their own lists.
                troubles.append(f"{title_of(name, account)}: {error}")
    note(
        f"{told['taken']} {'would be ' if dry_run else ''}taken, {told['left']} left, "
        f"{told['known']} in the ledger already"
    )
    if troubles:
        raise DarkroomError("not everything was looked at: " + "; ".join(troubles))


def _rescue(here: Services, name: str, account: str, since: datetime, *, dry_run: bool, as_json: bool) -> Counter[str]:
    """One account; how many were known, taken and left."""
    told: Counter[str] = Counter()
    for page in pages(title_of(name, account), here.provider(name, account).recent(since), PAGE):
        placed = here.ledger.rescuing.look(name, [orphan_of(task) for task in page], account)
        done = [_would(task, place) for task, place in zip(page, placed, strict=True)]
        if not dry_run and any(done):
            placed, done = _take(here, (name, account), page, placed, done)
        for task, place, taken in zip(page, placed, done, strict=True):
            told["known" if place.place is Place.KNOWN else "taken" if taken else "left"] += 1
            if place.place is not Place.KNOWN:
                _tell(task, place, taken, dry_run=dry_run, as_json=as_json)
        if not dry_run and any(done):
            ring("archive", "poll")
    return told


def _would(task: ListedTask, place: Placed) -> bool:
    """Whether it is taken: what failed elsewhere left nothing to archive, of our own it is news."""
    return place.place is Place.MARKED or (place.place is Place.NEW and has_result(task))


def _take(
    here: Services, whose: tuple[str, str], page: Sequence[ListedTask], placed: Sequence[Placed], chosen: Sequence[bool]
) -> tuple[list[Placed], list[bool]]:
    """Write down those that are chosen; where each is now, and which changed."""
    after = [(one, False) for one in placed]
    indexes = [index for index, is_chosen in enumerate(chosen) if is_chosen]
    adopted = adopt(here, whose, [page[index] for index in indexes], cause="rescued")
    for index, one in zip(indexes, adopted, strict=True):
        after[index] = one
    return [place for place, _ in after], [is_taken for _, is_taken in after]


def _tell(task: ListedTask, place: Placed, taken: bool, *, dry_run: bool, as_json: bool) -> None:
    task_id, message = str(task.outcome.task_id), _message(task, place, taken, dry_run=dry_run)
    if as_json:
        facts = {"operation": task.operation, "generation": place.generation_id, "taken": taken}
        print_json({"task_id": task_id, **facts, "message": message})
    else:
        click.echo(one_line(f"task {task_id}  {task.operation}  {message}"))


def _message(task: ListedTask, place: Placed, taken: bool, *, dry_run: bool) -> str:
    if place.place is Place.MARKED:
        owner = f"{place.generation_id}, whose task was not known"
        return f"{'would be found' if dry_run else 'found'}: it is {owner}" if taken else f"left: it is {owner}"
    if place.place is Place.DOUBTFUL:
        return (
            f"left: it may be {place.generation_id}, which was sent at that time and whose task is not known; if so: "
            f"darkroom resolve {place.generation_id} --charged --task-id {task.outcome.task_id}"
        )
    if place.place is Place.REFUSED:
        return f"left: it cannot be written down: {place.error}"
    if taken:
        return "would be taken" if dry_run else f"taken as {place.generation_id}"
    return (
        "left: it failed there" if task.outcome.status is Status.FAILED else "left: it has no result that is readable"
    )
