"""`darkroom subscriber remove`: send it nothing more."""

import click

from tasks.cli.ui.context import open_ledger
from tasks.cli.ui.output import json_option, one_line, print_json
from tasks.usecases import views
from tasks.usecases.subscribers import remove_subscriber


@click.command()
@click.argument("name")
@json_option
def remove(name: str, *, as_json: bool) -> None:
    """Remove a subscriber: send it nothing more, and forget its address and secrets.

    If it is added again under the same name, it continues where it stopped. For a host that submissions have named, all
    of their addresses are forgotten.
    """
    with open_ledger() as here:
        found = remove_subscriber(here, name)
    if as_json:
        print_json(views.of_subscriber(found))
    else:
        click.echo(one_line(f"{name}: removed"))
