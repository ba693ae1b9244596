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
    """Follow a batch until all of it is done, also while the ledger or the workers are restarted.

    The last line shows totals, cost, duration and manifest. The exit code is 1 if something failed that no new version
    of its row replaces, and 3 if the rest waits for decisions of yours. With --json, one document as `batch show`
    prints it per change. `darkroom watch` shows its generations one by one.
    """
    with open_ledger() as here:
        scope = batch_scope(here, batch)
        ctx.exit(
            follow_batch(scope, lambda: show_batch(here, scope.id), lambda: summarize(here, scope), as_json=as_json)
        )
