"""`darkroom batch move`: move the unsent part of a batch to another provider."""

import click

from tasks.cli.ui.context import open_services
from tasks.cli.ui.output import json_option, note, one_line, print_json
from tasks.cli.ui.totals import totals
from tasks.cli.ui.wakeup import ring
from tasks.usecases import views
from tasks.usecases.batches import move as usecase
from tasks.usecases.batches.move import MoveRequest
from tasks.usecases.provider_choice import read_providers
from worker.secrets import secrets_hidden

#: reasons that are printed
_TOLD = 10


@click.command()
@click.argument("batch", metavar="BATCH")
@click.option(
    "--to",
    "providers",
    required=True,
    metavar="NAME[,…]",
    help="The new provider, or several in order of preference, like kie,acedata.",
)
@json_option
@click.pass_context
def move(ctx: click.Context, batch: str, providers: str, *, as_json: bool) -> None:
    """Move the unsent part of a batch to another provider.

    The new provider's prices and budgets then apply. What was sent, or may have been sent, stays where it is, and
    follow-ups stay with their parents. A paused batch stays paused.

    The exit code is 1 if any generation cannot be made by any of the providers.
    """
    names = read_providers(providers)
    with open_services() as here:
        moved = usecase.move(here, MoveRequest(batch, names))
    if as_json:
        print_json(views.of_moved_batch(moved))
    else:
        done = {f"moved to {name}": number for name, number in moved.moved.items()}
        click.echo(totals(done or {"moved": 0}, moved.left))
        for one in moved.inexpressible[:_TOLD]:
            why = one_line(str(secrets_hidden(one.reason)))
            note(f"{one.number:,} cannot be made at {one.provider} (such as {one.example}): {why}")
        if len(moved.inexpressible) > _TOLD:
            note(f"{len(moved.inexpressible) - _TOLD} more reasons (--json shows all of them)")
    if moved.wakes:
        ring(*moved.wakes)
    ctx.exit(1 if moved.inexpressible else 0)
