"""`darkroom user passwd`: replace a user's password."""

import click

from tasks.cli.ui.context import open_ledger
from tasks.cli.ui.output import json_option, one_line, print_json
from tasks.cli.ui.password import password_stdin_option, read_password
from tasks.usecases import views
from tasks.usecases.users import change_password, find_user


@click.command()
@click.argument("name")
@password_stdin_option
@json_option
def passwd(name: str, *, from_stdin: bool, as_json: bool) -> None:
    """Set a user's password.

    The user is logged out everywhere.
    """
    with open_ledger() as here:
        # Check before asking for a password twice.
        find_user(here, name)
        changed = change_password(here, name, read_password(from_stdin=from_stdin))
    if as_json:
        print_json(views.of_user(changed))
    else:
        click.echo(one_line(f"{changed.name}: password set, and logged out everywhere"))
