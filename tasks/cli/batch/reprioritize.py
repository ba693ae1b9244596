"""`darkroom batch reprioritize`: change the priority of a batch."""

import click

from tasks.cli.ui.context import open_ledger
from tasks.cli.ui.output import json_option
from tasks.cli.ui.steered import batch_argument, print_steered
from tasks.usecases.batches import steer


@click.command(context_settings={"ignore_unknown_options": True})
@batch_argument
@click.argument("priority", type=int)
@json_option
def reprioritize(batch: str, priority: int, *, as_json: bool) -> None:
    """Change the priority of a batch.

    Queued generations with the highest priority go first. The default is 0, and a priority may be negative. Retries and
    follow-ups of generations in progress get the new priority, too.
    """
    with open_ledger() as here:
        steered = steer.reprioritize(here, batch, priority)
    print_steered(steered, as_json=as_json)
