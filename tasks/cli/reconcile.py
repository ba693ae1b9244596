"""`darkroom reconcile`: is the ledger what it was? If not, a person lets submissions go on after this comparison."""

from datetime import timedelta

import click

from tasks.cli.ui.context import open_services
from tasks.cli.ui.duration_option import read_span
from tasks.cli.ui.list_progress import pages
from tasks.cli.ui.operator import who
from tasks.cli.ui.output import json_option, note, one_line, print_json
from tasks.cli.ui.reconcile_report import lines
from tasks.cli.ui.wakeup import ring
from tasks.usecases import restore as usecase
from tasks.usecases import views
from tasks.usecases.restore import ReconcileRequest
from worker.errors import ConfigurationError
from worker.secrets import redact


@click.command()
@click.option("--since", callback=read_span, metavar="SPAN", help="How far back, such as 90m or 3d; else 24h, or since "
              "the ledger was in order.")  # fmt: skip
@click.option("--confirm", is_flag=True, help="Take in what is found, and let submissions go on.")
@json_option
@click.pass_context
def reconcile(ctx: click.Context, since: timedelta | None, confirm: bool, as_json: bool) -> None:
    """Compare the ledger with the bucket and the providers' lists.

    When the ledger was restored from a backup, nothing is submitted until you have looked at what this finds and have
    said --confirm. That takes in what a Darkroom has sent meanwhile, so that it is not paid for again. Without it
    nothing is changed.

    The exit code is 1 while submissions are stopped, and when something could not be compared.
    """
    with open_services() as here:
        report = usecase.reconcile(here, ReconcileRequest(since, who() if confirm else None), pages)
    if as_json:
        print_json(views.of_reconciliation(report))
    else:
        for line in lines(report):
            click.echo(one_line(redact(line)))
    if report.wakes:
        ring(*report.wakes)
    if confirm and not (report.is_stopped or report.opened):
        note("there was nothing to confirm")
    elif confirm and report.obstacle is not None:
        raise ConfigurationError(f"submissions stay stopped: {report.obstacle}")
    ctx.exit(1 if report.is_stopped or report.obstacle else 0)
