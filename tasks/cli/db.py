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
    """Look after the ledger's tables."""


@db.command()
@json_option
def upgrade(as_json: bool) -> None:
    """Bring the tables to the form that this version needs.

    Doing it again changes nothing.
    """
    upgraded = upgrade_ledger(read_settings(), partial(click.echo, err=True))
    before, after = upgraded.before, upgraded.after
    if as_json:
        print_json(views.of_upgraded(upgraded))
    elif before == after:
        click.echo(f"the ledger is at revision {after} already")
    else:
        click.echo(f"the ledger went from revision {before or 'none'} to {after}")


@db.command()
@json_option
def size(as_json: bool) -> None:
    """Tell how many rows each table has, and how much room it takes with its indexes.

    Every row is counted, which takes minutes in a large ledger and holds up nobody.
    """
    with open_ledger() as here:
        whole = measure_ledger(here)
    if as_json:
        print_json(views.of_ledger_size(whole))
        return
    for one in sorted(whole.tables, key=lambda table: (-(table.bytes or 0), -table.rows, table.name)):
        click.echo(f"{one.name:<18}{one.rows:>14,} rows{in_bytes(one.bytes) if one.bytes is not None else '':>14}")
    free = f", of which {in_bytes(whole.free)} are ready for new rows" if whole.free else ""
    note(f"{in_bytes(whole.bytes)} in all{free}")
