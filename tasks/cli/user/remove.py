"""`darkroom user remove`: stop letting a user into the console."""

import click

from tasks.cli.ui.context import open_ledger
from tasks.cli.ui.output import json_option, one_line, print_json
from tasks.usecases import views
from tasks.usecases.users import remove_user


@click.command()
@click.argument("name")
@json_option
def remove(name: str, *, as_json: bool) -> None:
    """Remove a user and log them out everywhere.

    What they submitted continues, and `darkroom audit-log` still names them.
    """
    with open_ledger() as here:
        removed = remove_user(here, name)
    if as_json:
        print_json(views.of_user(removed))
    else:
        click.echo(one_line(f"{removed.name}: removed, and logged out everywhere"))
