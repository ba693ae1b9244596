"""`darkroom subscriber rotate`: a new secret, valid together with the previous one."""

import click

from tasks.cli.ui.context import open_ledger
from tasks.cli.ui.output import json_option, note, print_json
from tasks.usecases import views
from tasks.usecases.subscribers import rotate_secret


@click.command()
@click.argument("name")
@json_option
def rotate(name: str, *, as_json: bool) -> None:
    """Create a new secret for a webhook. Until the next rotation, events are signed with it and the previous one."""
    with open_ledger() as here:
        rotated = rotate_secret(here, name)
    if as_json:
        print_json(views.of_added_subscriber(rotated))
        return
    click.echo(rotated.secret)
    note("Save it now: it is shown only once. To invalidate a leaked secret, rotate twice.")
