"""`darkroom rescue`: archive tasks that exist at the provider, and not in the ledger."""

from datetime import timedelta

import click

from tasks.cli.ui.context import open_services
from tasks.cli.ui.duration_option import read_span
from tasks.cli.ui.list_progress import pages
from tasks.cli.ui.output import json_option, note, one_line, print_json
from tasks.cli.ui.wakeup import ring
from tasks.usecases import views
from tasks.usecases.import_tasks import FoundTasks, ImportRequest, import_tasks
from worker.errors import DarkroomError


@click.command()
@click.option("--provider", "name", required=True, metavar="NAME", help="Whose tasks; it must have a list of them.")
@click.option("--since", callback=read_span, required=True, metavar="SPAN", help="How far back, such as 90m or 24h.")
@click.option("--dry-run", is_flag=True, help="Tell what would be taken, and change nothing.")
@json_option
def rescue(name: str, since: timedelta, dry_run: bool, as_json: bool) -> None:
    """Archive tasks that were made elsewhere, or that the ledger has forgotten.

    Nothing is submitted and nothing is charged. Repeating it does no harm: what was taken is known from then on.
    """

    def tell(found: FoundTasks) -> None:
        for one in found.tasks:
            if as_json:
                print_json(views.of_found_task(one))
            else:
                click.echo(one_line(f"task {one.task_id}  {one.operation}  {one.message}"))
        if found.wakes:
            ring(*found.wakes)

    with open_services() as here:
        imported = import_tasks(here, ImportRequest(name, since, dry_run), tell, pages)
    note(
        f"{imported.taken} {'would be ' if dry_run else ''}taken, {imported.left} left, "
        f"{imported.known} in the ledger already"
    )
    if imported.unread:
        raise DarkroomError("not everything was looked at: " + "; ".join(imported.unread))
