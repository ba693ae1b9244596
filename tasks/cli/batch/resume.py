"""`darkroom batch resume`: continue a paused batch."""

import click

from tasks.cli.ui.context import open_ledger
from tasks.cli.ui.output import json_option
from tasks.cli.ui.steered import batch_argument, print_steered
from tasks.usecases.batches import steer


@click.command()
@batch_argument
@json_option
def resume(batch: str, *, as_json: bool) -> None:
    """Continue a paused batch.

    If its start time is still to come, the batch waits for it; `darkroom batch limit BATCH --no-start-at` starts it
    now.
    """
    with open_ledger() as here:
        steered = steer.resume(here, batch)
    print_steered(steered, as_json=as_json)
