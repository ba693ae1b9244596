"""`darkroom token revoke`: refuse a token from now on."""

import click

from tasks.cli.ui.context import open_ledger
from tasks.cli.ui.output import json_option, print_json
from tasks.usecases import views
from tasks.usecases.tokens import revoke_token


@click.command()
@click.argument("name")
@json_option
def revoke(name: str, *, as_json: bool) -> None:
    """Revoke a token.

    Running processes refuse it within five seconds. Generations submitted with it continue.
    """
    with open_ledger() as here:
        revoked = revoke_token(here, name)
    if as_json:
        print_json(views.of_token(revoked))
    else:
        click.echo(f"{revoked.token.name}: revoked ({revoked.token.hint}…)")
