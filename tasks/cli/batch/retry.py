"""`darkroom batch retry`: retry the failed and expired generations of a batch."""

import click

from tasks.cli.decide import DONE
from tasks.cli.ui.context import open_ledger
from tasks.cli.ui.only import only_option
from tasks.cli.ui.output import json_option, note, print_json
from tasks.cli.ui.totals import totals
from tasks.cli.ui.wakeup import ring
from tasks.usecases import views
from tasks.usecases.batches.retry import BatchRetryRequest, retry_batch
from worker.failures import Category


@click.command()
@click.argument("batch", metavar="BATCH")
@only_option
@click.option("--may-pay-twice", is_flag=True, help="Include generations that the provider may still deliver.")
@json_option
def retry(batch: str, only: frozenset[Category], *, may_pay_twice: bool, as_json: bool) -> None:
    """Retry the failed and expired generations of a batch.

    Failed generations are submitted and paid for again; for expired ones, only new links are requested, which is free.
    What succeeded stays as it is. Safe to repeat.
    """
    with open_ledger() as here:
        retried = retry_batch(here, BatchRetryRequest(batch=batch, only=only, may_pay_twice=may_pay_twice))
    if as_json:
        print_json(views.of_batch_retried(retried))
    elif not retried.done and not retried.left:
        note("Nothing in it failed or expired.")
    else:
        click.echo(
            totals({DONE[state]: number for state, number in retried.done.items()} or {"retried": 0}, retried.left)
        )
    if retried.decisions.wakes:
        ring(*retried.decisions.wakes)
