"""`darkroom db`: the ledger's tables."""

from functools import partial

import click

from tasks.cli.connection import read_settings
from tasks.cli.output import json_option, print_json
from worker.data_folder import folder_errors
from worker.ledger.database import Database
from worker.ledger.schema import upgrade as upgrade_ledger


@click.group()
def db() -> None:
    """Look after the ledger's tables."""


@db.command()
@json_option
def upgrade(as_json: bool) -> None:
    """Bring the tables to the form that this version needs.

    Doing it again changes nothing.
    """
    settings = read_settings()
    if settings.database_url is None:
        data = settings.darkroom_data.absolute()
        with folder_errors(data):
            data.mkdir(mode=0o700, parents=True, exist_ok=True)
    database = Database(settings.ledger_url)
    try:
        before, after = upgrade_ledger(database, partial(click.echo, err=True))
    finally:
        database.close()
    if as_json:
        print_json({"before": before, "after": after})
    elif before == after:
        click.echo(f"the ledger is at revision {after} already")
    else:
        click.echo(f"the ledger went from revision {before or 'none'} to {after}")
