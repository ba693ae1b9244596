"""`darkroom resolve`: record what a person found out about unconfirmed submissions."""

import click

from tasks.cli.ui.context import open_ledger, open_services
from tasks.cli.ui.operator import who
from tasks.cli.ui.output import json_option, note, print_json
from tasks.cli.ui.selecting import FEW, selecting, verbose_option
from tasks.cli.ui.wakeup import ring
from tasks.usecases import resolve as usecase
from tasks.usecases import views
from tasks.usecases.person import person
from tasks.usecases.resolve import Decision, ResolveRequest, TaskRequest
from tasks.usecases.selection import Selection


@click.command()
@selecting
@click.option("--charged", is_flag=True, help="The provider accepted the submission and charged for it.")
@click.option("--not-charged", is_flag=True, help="The provider did not accept the submission.")
@click.option("--resubmit", is_flag=True, help="Submit it again, at the risk of paying twice.")
@click.option("--task-id", metavar="TASK", help="With --charged: the provider's task id; its result is requested.")
@click.option("--why", default="", metavar="TEXT", help="How you know; recorded with your name.")
@verbose_option
@json_option
def resolve(
    *, selection: Selection, charged: bool, not_charged: bool, resubmit: bool, task_id: str | None, why: str,
    verbose: bool, as_json: bool,
) -> None:  # fmt: skip
    """Record what happened to unconfirmed generations.

    All or nothing: if any name is unknown, or any generation is not (or no longer) unconfirmed, nothing changes.
    """
    if charged + not_charged + resubmit != 1:
        raise click.UsageError("give exactly one of --charged, --not-charged and --resubmit")
    decision = Decision.CHARGED if charged else Decision.NOT_CHARGED if not_charged else Decision.RESUBMIT
    if task_id is not None and (decision is not Decision.CHARGED or len(selection.names) != 1 or not task_id.strip()):
        raise click.UsageError("--task-id requires --charged and one GENERATION")
    by = person(who(), why)
    if task_id is None:
        with open_ledger() as here:
            resolved = usecase.resolve(here, ResolveRequest(selection, decision, by))
    else:
        with open_services() as services:
            resolved = usecase.resolve_to_task(services, TaskRequest(selection.names[0], task_id, by))
    few = 0 < len(selection.names) <= FEW
    for generation_id in resolved.generation_ids:
        if as_json:
            print_json(views.of_resolved(generation_id, resolved, by, task_id))
        elif few or verbose:
            click.echo(f"{generation_id} {resolved.message}")
    if not resolved.generation_ids:
        note("No matching generations.")
        return
    if not as_json and not few:
        click.echo(f"{len(resolved.generation_ids):,} {resolved.message}")
    ring(*resolved.wakes)
