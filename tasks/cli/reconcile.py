"""`darkroom reconcile`: compare a restored ledger with the outside world, so that a person can resume submissions."""

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
@click.option("--since", callback=read_span, metavar="SPAN", help="How far back, such as 90m or 3d.  "
              "[default: since the pause, or 24h]")  # fmt: skip
@click.option("--confirm", is_flag=True, help="Import the tasks found and resume submissions.")
@json_option
@click.pass_context
def reconcile(ctx: click.Context, since: timedelta | None, confirm: bool, as_json: bool) -> None:
    """Compare the ledger with the bucket and the providers' lists.

    After the ledger is restored from a backup, nothing is submitted until you have reviewed the findings and run this
    command with --confirm. It then imports the tasks that Darkroom submitted after the backup, so that they are not
    paid for again, and resumes submissions. Without --confirm, nothing changes.

    The exit code is 1 while submissions are paused, or if something could not be compared.
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
        note("nothing to confirm")
    elif confirm and report.obstacle is not None:
        raise ConfigurationError(f"submissions stay paused: {report.obstacle}")
    ctx.exit(1 if report.is_stopped or report.obstacle else 0)
