"""`darkroom resolve`: what a person has found out about submissions that nobody else could tell of."""

import click

from tasks.cli.ui.context import open_ledger, open_services
from tasks.cli.ui.operator import who
from tasks.cli.ui.output import json_option, print_json
from tasks.cli.ui.wakeup import ring
from tasks.usecases import resolve as usecase
from tasks.usecases import views
from tasks.usecases.person import person
from tasks.usecases.resolve import Decision, ResolveRequest, TaskRequest


@click.command()
@click.argument("generation_ids", nargs=-1, required=True, metavar="GENERATION...")
@click.option("--charged", is_flag=True, help="The provider took it and charged for it.")
@click.option("--not-charged", is_flag=True, help="The provider did not take it.")
@click.option("--resubmit", is_flag=True, help="Submit it again: it may be paid twice.")
@click.option("--task-id", metavar="TASK", help="With --charged: the provider's id of it; its result is asked for.")
@click.option("--why", default="", metavar="TEXT", help="How you know; kept with your name.")
@json_option
def resolve(
    generation_ids: tuple[str, ...], *, charged: bool, not_charged: bool, resubmit: bool, task_id: str | None, why: str,
    as_json: bool,
) -> None:  # fmt: skip
    """Decide what became of unconfirmed generations.

    All of them or none: a wrong id, or one that is not unconfirmed (any more), changes nothing.
    """
    if charged + not_charged + resubmit != 1:
        raise click.UsageError("say one thing that you found out: --charged, --not-charged, or --resubmit")
    decision = Decision.CHARGED if charged else Decision.NOT_CHARGED if not_charged else Decision.RESUBMIT
    if task_id is not None and (decision is not Decision.CHARGED or len(generation_ids) > 1 or not task_id.strip()):
        raise click.UsageError("--task-id goes with --charged and one GENERATION")
    by = person(who(), why)
    if task_id is None:
        with open_ledger() as here:
            resolved = usecase.resolve(here, ResolveRequest(generation_ids, decision, by))
    else:
        with open_services() as services:
            resolved = usecase.resolve_to_task(services, TaskRequest(generation_ids[0], task_id, by))
    for generation_id in resolved.generation_ids:
        if as_json:
            print_json(views.of_resolved(generation_id, resolved, by, task_id))
        else:
            click.echo(f"{generation_id} {resolved.message}")
    ring(*resolved.wakes)
