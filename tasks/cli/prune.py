"""`darkroom prune`: run a worker's hourly pruning now."""

import click

from tasks.cli.ui.context import open_ledger
from tasks.cli.ui.output import json_option, note, print_json
from tasks.usecases import prune as usecase
from tasks.usecases import views

#: what a row of each table stands for
_WORDS = {
    "callbacks": "applied or dismissed callbacks",
    "assets": "links of stored assets",
    "events": "delivered events",
    "deliveries": "deliveries of these events",
    "notify_addresses": "notify addresses of these events",
    "heartbeats": "heartbeats of stopped workers",
    "actions": "actions in the audit log",
}


@click.command()
@click.option("--dry-run", is_flag=True, help="Show what would be deleted, and delete nothing.")
@json_option
def prune(dry_run: bool, as_json: bool) -> None:
    """Delete rows past their retention.

    A worker does this every hour: it deletes rows that are older than DARKROOM_KEEP_DAYS and no longer needed.
    Generations, assets, charges and their history are kept, and so is everything that still needs a decision.
    """
    with open_ledger() as here:
        pruned = usecase.prune(here, dry_run=dry_run)
    if as_json:
        print_json(views.of_pruned(pruned, dry_run=dry_run))
        return
    for name, words in _WORDS.items():
        click.echo(f"{pruned.rows.get(name, 0):>12,}  {words}")
    done = "would be deleted" if dry_run else "deleted"
    note(f"{done}: everything older than {pruned.before.astimezone():%Y-%m-%d %H:%M}")
