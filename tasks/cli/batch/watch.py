"""`darkroom batch watch`: follow a batch as a whole until it is done."""

import click

from tasks.cli.ui.batch_progress import follow_batch
from tasks.cli.ui.context import open_ledger
from tasks.cli.ui.output import json_option
from tasks.usecases.batches.show import show_batch
from tasks.usecases.scope import batch_scope, summarize


@click.command()
@click.argument("batch")
@json_option
@click.pass_context
def watch(ctx: click.Context, batch: str, *, as_json: bool) -> None:
    """Follow a batch until all of it is done, even while the ledger or the workers restart.

    The last line shows totals, cost, duration and manifest. The exit code is 1 if something failed and no new version
    of its row replaces it, and 3 if the rest is waiting for your decisions. With --json, prints a document as
    `batch show` does for each change. `darkroom watch` shows the generations one by one.
    """
    with open_ledger() as here:
        scope = batch_scope(here, batch)
        ctx.exit(
            follow_batch(scope, lambda: show_batch(here, scope.id), lambda: summarize(here, scope), as_json=as_json)
        )
