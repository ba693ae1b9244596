"""`darkroom db`: the ledger's tables."""

from functools import partial

import click

from tasks.cli.ui.context import open_ledger, read_settings
from tasks.cli.ui.output import json_option, note, print_json
from tasks.cli.ui.style import size as in_bytes
from tasks.usecases import views
from tasks.usecases.ledger_tables import measure_ledger, upgrade_ledger


@click.group()
def db() -> None:
    """Manage the ledger's tables."""


@db.command()
@json_option
def upgrade(as_json: bool) -> None:
    """Upgrade the tables to this version.

    Repeating it changes nothing. There is no downgrade: before an upgrade, back up the ledger; to go back, restore it.
    """
    upgraded = upgrade_ledger(read_settings(), partial(click.echo, err=True))
    before, after = upgraded.before, upgraded.after
    if as_json:
        print_json(views.of_upgraded(upgraded))
    elif before == after:
        click.echo(f"the ledger is already at revision {after}")
    else:
        click.echo(f"the ledger was upgraded from revision {before or 'none'} to {after}")


@db.command()
@json_option
def size(as_json: bool) -> None:
    """Show the rows of each table, and its size with indexes.

    Counts every row, which takes minutes in a large ledger but blocks nothing.
    """
    with open_ledger() as here:
        whole = measure_ledger(here)
    if as_json:
        print_json(views.of_ledger_size(whole))
        return
    for one in sorted(whole.tables, key=lambda table: (-(table.bytes or 0), -table.rows, table.name)):
        click.echo(f"{one.name:<18}{one.rows:>14,} rows{in_bytes(one.bytes) if one.bytes is not None else '':>14}")
    free = f", {in_bytes(whole.free)} of it free for new rows" if whole.free else ""
    note(f"{in_bytes(whole.bytes)} in total{free}")
