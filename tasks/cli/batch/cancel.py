"""`darkroom batch cancel`: cancel what is not submitted yet of a batch."""

import click

from tasks.cli.ui.context import open_ledger
from tasks.cli.ui.output import json_option
from tasks.cli.ui.steered import batch_argument, print_steered
from tasks.usecases.batches import steer


@click.command()
@batch_argument
@json_option
def cancel(batch: str, *, as_json: bool) -> None:
    """Cancel what is not submitted yet of a batch.

    What is at a provider already is paid for: it continues and is archived, but gets no follow-ups. If the command is
    interrupted, the batch is paused: repeat it for the rest.
    """
    with open_ledger() as here:
        steered = steer.cancel(here, batch)
    print_steered(steered, as_json=as_json)
