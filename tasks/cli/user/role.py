"""`darkroom user role`: change what a user may do."""

import click

from tasks.cli.ui.context import open_ledger
from tasks.cli.ui.output import json_option, one_line, print_json
from tasks.usecases import views
from tasks.usecases.users import Role, change_role


@click.command()
@click.argument("name")
@click.argument("role", type=click.Choice([one.value for one in Role]))
@json_option
def role(name: str, role: str, *, as_json: bool) -> None:
    """Change a user's role, starting with their next request.

    A viewer sees everything and changes nothing; an operator also submits, decides and spends.
    """
    with open_ledger() as here:
        changed = change_role(here, name, Role(role))
    if as_json:
        print_json(views.of_user(changed))
    else:
        click.echo(one_line(f"{changed.name}: {changed.role} from now on"))
