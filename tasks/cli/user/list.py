"""`darkroom user list`: the users of the console."""

from collections.abc import Sequence

import click

from tasks.cli.ui.context import open_ledger
from tasks.cli.ui.output import json_option, note, one_line, print_json
from tasks.usecases import views
from tasks.usecases.users import User
from tasks.usecases.users import list_users as usecase


@click.command("list")
@click.option("--all", "with_removed", is_flag=True, help="Include removed users.")
@json_option
def list_users(*, with_removed: bool, as_json: bool) -> None:
    """List users of the console and when each last logged in."""
    with open_ledger() as here:
        found = usecase(here, with_removed=with_removed)
    if as_json:
        for one in found:
            print_json(views.of_user(one))
    elif found:
        _print_table(found)
    if not found:
        note("There are no users; `darkroom user add NAME --role operator` adds one.")


def _print_table(found: Sequence[User]) -> None:
    # JSON output does not need tables.
    from rich.table import Table  # noqa: PLC0415

    from tasks.cli.ui.style import console  # noqa: PLC0415

    screen = console()
    rows = [(one_line(one.name), one.role, _state(one)) for one in found]
    if not screen.is_terminal:
        for row in rows:
            click.echo("\t".join(row))
        return
    table = Table.grid(padding=(0, 2))
    for _ in range(3):
        table.add_column(no_wrap=True, overflow="ellipsis")
    for row in rows:
        table.add_row(*row)
    screen.print(table)


def _state(one: User) -> str:
    if one.removed_at is not None:
        return f"removed {one.removed_at.astimezone():%Y-%m-%d %H:%M}"
    if one.logged_in_at is None:
        return "never logged in"
    return f"logged in {one.logged_in_at.astimezone():%Y-%m-%d %H:%M}"
