"""`darkroom user add`: add a user of the console."""

import click

from tasks.cli.ui.context import open_ledger
from tasks.cli.ui.operator import who
from tasks.cli.ui.output import json_option, one_line, print_json
from tasks.cli.ui.password import password_stdin_option, read_password
from tasks.usecases import views
from tasks.usecases.users import Role, UserRequest, add_user, read_name


@click.command()
@click.argument("name")
@click.option(
    "--role", type=click.Choice([one.value for one in Role]), required=True,
    help="A viewer sees everything and changes nothing; an operator also submits, decides and spends.",
)  # fmt: skip
@password_stdin_option
@click.option("--no-password", is_flag=True, help="Only your proxy lets them in (DARKROOM_CONSOLE_PROXY_HEADER).")
@json_option
def add(*, name: str, role: str, from_stdin: bool, no_password: bool, as_json: bool) -> None:
    """Add a user of the console, with a password.

    The password is asked for twice; only its hash is kept. NAME appears in `darkroom audit-log`.
    """
    if no_password and from_stdin:
        raise click.UsageError("give either --password-stdin or --no-password")
    # Check before asking for a password twice.
    name = read_name(name)
    password = None if no_password else read_password(from_stdin=from_stdin)
    with open_ledger() as here:
        added = add_user(here, UserRequest(name=name, role=Role(role), password=password, by=who()))
    if as_json:
        print_json(views.of_user(added))
    else:
        click.echo(one_line(f"{added.name}: added as {added.role}"))
