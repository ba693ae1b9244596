"""`darkroom subscriber enable`: deliver to a disabled subscriber again."""

import click

from tasks.cli.ui.context import open_ledger
from tasks.cli.ui.output import json_option, one_line, print_json
from tasks.cli.ui.wakeup import ring
from tasks.usecases import views
from tasks.usecases.subscribers import enable_subscriber
from worker.steps import Step


@click.command()
@click.argument("name")
@json_option
def enable(name: str, *, as_json: bool) -> None:
    """Deliver to a disabled subscriber again, at once, from where it stopped.

    It gets the events that it missed, in order. A failing subscriber is also retried at once.
    """
    with open_ledger() as here:
        found = enable_subscriber(here, name)
    if as_json:
        print_json(views.of_subscriber(found))
    else:
        click.echo(one_line(f"{name}: enabled; waiting events are delivered now"))
    ring(Step.NOTIFY)
