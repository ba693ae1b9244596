"""`darkroom token list`: who may use the API."""

from datetime import datetime

import click

from tasks.cli.ui.context import open_ledger
from tasks.cli.ui.output import json_option, note, print_json
from tasks.usecases import views
from tasks.usecases.tokens import ListedToken, TokenState
from tasks.usecases.tokens import list_tokens as usecase


@click.command("list")
@click.option("--all", "with_revoked", is_flag=True, help="Include revoked tokens.")
@json_option
def list_tokens(*, with_revoked: bool, as_json: bool) -> None:
    """List tokens and when each was last used.

    A token is identified by its name and its first characters.
    """
    with open_ledger() as here:
        found = usecase(here, with_revoked=with_revoked)
    if as_json:
        for one in found:
            print_json(views.of_token(one))
    elif found:
        _print_table(found)
    if not found:
        note("There are no tokens; `darkroom token create NAME --scope SCOPE` creates one.")


def _print_table(found: list[ListedToken]) -> None:
    # JSON output does not need tables.
    from rich.table import Table  # noqa: PLC0415

    from tasks.cli.ui.style import console  # noqa: PLC0415

    screen = console()
    rows = [
        (one.token.name, f"{one.token.hint}…", _state(one), " ".join(one.token.scopes), _used(one)) for one in found
    ]
    if not screen.is_terminal:
        for row in rows:
            click.echo("\t".join(row))
        return
    table = Table.grid(padding=(0, 2))
    for overflow in ("ellipsis", "ellipsis", "ellipsis", "fold", "ellipsis"):
        table.add_column(no_wrap=overflow == "ellipsis", overflow=overflow)
    for row in rows:
        table.add_row(*row)
    screen.print(table)


def _state(one: ListedToken) -> str:
    if one.state is TokenState.VALID and one.token.expires_at is not None:
        return f"until {_minute(one.token.expires_at)}"
    return one.state.value


def _used(one: ListedToken) -> str:
    return "never used" if one.token.used_at is None else f"used {_minute(one.token.used_at)}"


def _minute(moment: datetime) -> str:
    return f"{moment.astimezone():%Y-%m-%d %H:%M}"
