"""`darkroom prune`: what the worker does each hour, now."""

from collections import Counter

import click

from tasks.cli.connection import open_ledger, read_settings
from tasks.cli.output import json_option, note, print_json
from worker.errors import ConfigurationError

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
    settings = read_settings()
    if settings.keep is None:
        raise ConfigurationError("DARKROOM_KEEP_DAYS is 0, so everything is kept: set it to a number of days to prune")
    with open_ledger() as here:
        before = here.ledger.database.clock() - settings.keep
        gone: Counter[str] = Counter()
        if dry_run:
            gone.update(here.ledger.pruning.count(before))
        else:
            from tasks.prune import bites  # noqa: PLC0415 - it imports Celery, which reads the settings

            for bite in bites(here.ledger, before):
                gone.update(bite)
    if as_json:
        print_json({"before": before.isoformat(), "dry_run": dry_run, "rows": {name: gone[name] for name in _WORDS}})
        return
    for name, words in _WORDS.items():
        click.echo(f"{gone[name]:>12,}  {words}")
    note(f"{'would go' if dry_run else 'gone'}: what is from before {before.astimezone():%Y-%m-%d %H:%M}")
