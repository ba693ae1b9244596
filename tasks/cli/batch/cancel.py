"""`darkroom batch cancel`: cancel the part of a batch that is not submitted yet."""

import click

from tasks.cli.ui.context import open_ledger
from tasks.cli.ui.output import json_option
from tasks.cli.ui.steered import batch_argument, print_steered
from tasks.usecases.batches import steer


@click.command()
@batch_argument
@json_option
def cancel(batch: str, *, as_json: bool) -> None:
    """Cancel the part of a batch that is not submitted yet.

    What has reached a provider is paid for: it continues and is archived, but gets no follow-ups. If the command is
    interrupted, the batch is paused; repeat the command to cancel the rest.
    """
    with open_ledger() as here:
        steered = steer.cancel(here, batch)
    print_steered(steered, as_json=as_json)
