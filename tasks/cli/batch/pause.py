"""`darkroom batch pause`: stop submitting a batch for now."""

import click

from tasks.cli.ui.context import open_ledger
from tasks.cli.ui.output import json_option
from tasks.cli.ui.steered import batch_argument, print_steered
from tasks.usecases.batches import steer


@click.command()
@batch_argument
@json_option
def pause(batch: str, *, as_json: bool) -> None:
    """Stop submitting a batch for now.

    What has reached a provider is paid for: it continues and is archived. Follow-ups wait with the rest of the batch.
    """
    with open_ledger() as here:
        steered = steer.pause(here, batch)
    print_steered(steered, as_json=as_json)
