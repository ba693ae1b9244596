"""`darkroom prune`: what the worker does each hour, now."""

import click

from tasks.cli.ui.context import open_ledger
from tasks.cli.ui.output import json_option, note, print_json
from tasks.usecases import prune as usecase
from tasks.usecases import views

#: what a row of each table stands for
_WORDS = {
    "callbacks": "callbacks that were applied, or dismissed",
    "assets": "links of stored assets",
    "events": "events that were told",
    "deliveries": "deliveries of these events",
    "heartbeats": "heartbeats of workers that are gone",
}


@click.command()
@click.option("--dry-run", is_flag=True, help="Tell what would go, and delete nothing.")
@json_option
def prune(dry_run: bool, as_json: bool) -> None:
    """Delete what is kept no longer.

    As a worker does each hour: what is older than DARKROOM_KEEP_DAYS and needed no more. Generations, assets, charges
    and their history stay, and so does what still waits for somebody.
    """
    with open_ledger() as here:
        pruned = usecase.prune(here, dry_run=dry_run)
    if as_json:
        print_json(views.of_pruned(pruned, dry_run=dry_run))
        return
    for name, words in _WORDS.items():
        click.echo(f"{pruned.rows.get(name, 0):>12,}  {words}")
    note(f"{'would go' if dry_run else 'gone'}: what is from before {pruned.before.astimezone():%Y-%m-%d %H:%M}")
