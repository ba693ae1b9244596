"""`darkroom rescue`: import and archive tasks that exist at the provider, but not in the ledger."""

from collections import Counter
from datetime import timedelta

import click

from tasks.cli.ui.context import open_services
from tasks.cli.ui.duration_option import read_span
from tasks.cli.ui.list_progress import pages
from tasks.cli.ui.output import json_option, note, one_line, print_json
from tasks.cli.ui.selecting import verbose_option
from tasks.cli.ui.totals import totals
from tasks.cli.ui.wakeup import ring
from tasks.usecases import views
from tasks.usecases.import_tasks import FoundTask, FoundTasks, ImportRequest, import_tasks
from worker.errors import DarkroomError
from worker.secrets import links_hidden

#: characters of a prompt shown on a line
_PROMPT = 40


@click.command()
@click.option("--provider", "name", required=True, metavar="NAME", help="Provider whose task list to read.")
@click.option("--since", callback=read_span, required=True, metavar="SPAN", help="How far back, such as 90m or 24h.")
@click.option("--dry-run", is_flag=True, help="Show each task that would be imported, and change nothing.")
@verbose_option
@json_option
def rescue(name: str, since: timedelta, *, dry_run: bool, verbose: bool, as_json: bool) -> None:
    """Import tasks that exist only at the provider.

    They were made without Darkroom, or the ledger lost them. Nothing is submitted or charged. Safe to repeat: tasks are
    imported only once.
    """
    left: Counter[str] = Counter()

    def tell(found: FoundTasks) -> None:
        for one in found.tasks:
            if as_json:
                print_json(views.of_found_task(one))
            elif verbose or dry_run or one.needs_decision:
                click.echo(one_line(_line(one)))
            if not one.is_taken:
                left[one.left] += 1
        if found.wakes:
            ring(*found.wakes)

    with open_services() as here:
        imported = import_tasks(here, ImportRequest(name, since, dry_run), tell, pages)
    left["already in the ledger"] = imported.known
    note(totals({"would be imported" if dry_run else "imported": imported.taken}, +left))
    if imported.unread:
        raise DarkroomError("some lists could not be read: " + "; ".join(imported.unread))


def _line(one: FoundTask) -> str:
    at = f"  {one.created_at.astimezone():%Y-%m-%d %H:%M}" if one.created_at else ""
    prompt = links_hidden(one.prompt)
    prompt = prompt if len(prompt) <= _PROMPT else f"{prompt[: _PROMPT - 1]}…"
    return f"task {one.task_id}{at}  {one.operation}  {prompt}  {one.message}"
