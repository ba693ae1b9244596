"""`darkroom token create`: a token for a program that uses the API."""

from datetime import timedelta

import click

from tasks.cli.ui.context import open_ledger
from tasks.cli.ui.duration_option import read_span
from tasks.cli.ui.operator import who
from tasks.cli.ui.output import json_option, note, print_json
from tasks.usecases import views
from tasks.usecases.tokens import ALL, Scope, TokenRequest, create_token

_SCOPES = ", ".join(Scope)


@click.command(epilog=f"Scopes: {_SCOPES}, or {ALL}. Writing includes reading.")
@click.argument("name")
@click.option("--scope", "scopes", multiple=True, metavar="SCOPE", help="What the token allows; repeatable.")
@click.option("--test", "is_test", is_flag=True, help="What it creates goes to the sandbox provider and costs nothing.")
@click.option("--expires", "expires_in", callback=read_span, metavar="SPAN", help="Such as 90d; by default never.")
@click.option("--rate", metavar="RATE", help="Rate limit, such as 100/second; by default, DARKROOM_API_RATE.")
@json_option
def create(
    *, name: str, scopes: tuple[str, ...], is_test: bool, expires_in: timedelta | None, rate: str | None, as_json: bool
) -> None:
    """Create a token for a program that uses the API.

    NAME appears in `darkroom audit-log`. The token itself is shown once; only its hash is kept.
    """
    if not scopes:
        raise click.UsageError(f"give at least one --scope: {_SCOPES}, or {ALL}")
    request = TokenRequest(name=name, scopes=scopes, is_test=is_test, rate=rate, expires_in=expires_in, by=who())
    with open_ledger() as here:
        created = create_token(here, request)
    if as_json:
        print_json(views.of_created_token(created))
        return
    click.echo(created.secret)
    note("Save it now: it is shown only once. Programs send it as `Authorization: Bearer dk_…`.")
