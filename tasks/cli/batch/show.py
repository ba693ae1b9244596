"""`darkroom batch show`: the progress of one batch."""

import click

from tasks.cli.ui.batch_text import paragraph
from tasks.cli.ui.context import open_ledger
from tasks.cli.ui.output import json_option, print_json
from tasks.usecases import views
from tasks.usecases.batches.show import show_batch


@click.command()
@click.argument("batch")
@json_option
def show(batch: str, *, as_json: bool) -> None:
    """Show the progress of a batch: counts, throughput, time left, spend, results at risk, failures.

    BATCH is its name, its id, or the short id that `darkroom batch list` shows.
    """
    with open_ledger() as here:
        details = show_batch(here, batch)
    if as_json:
        print_json(views.of_batch_details(details))
        return
    for line in paragraph(details):
        click.echo(line)
