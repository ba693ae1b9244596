"""`darkroom events list`: the newest events, or matching ones."""

from dataclasses import replace
from datetime import timedelta

import click

from tasks.cli.ui.context import open_ledger
from tasks.cli.ui.duration_option import read_span
from tasks.cli.ui.event_options import event_line, types_option
from tasks.cli.ui.output import json_option, note, print_json
from tasks.cli.ui.selecting import batch_option
from tasks.usecases import views
from tasks.usecases.events import log
from tasks.usecases.events.log import EventSelection


@click.command("list")
@types_option
@batch_option
@click.option("--generation", metavar="GENERATION", help="Only events of this generation, by key or id.")
@click.option("--since", callback=read_span, metavar="SPAN", help="Only events from the last SPAN, such as 90m or 3d.")
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, metavar="N", help="Show at most N.")
@click.option("--all", "everything", is_flag=True, help="Show all that match.")
@json_option
def list_events(
    *, types: tuple[str, ...], batch: str | None, generation: str | None, since: timedelta | None, limit: int,
    everything: bool, as_json: bool,
) -> None:  # fmt: skip
    """List recorded events, newest first.

    Events are kept for DARKROOM_KEEP_DAYS. With --json, one event per line, as subscribers receive it.
    """
    selection = EventSelection(types=types, batch=batch, generation=generation, since=since)
    number = 0
    with open_ledger() as here:
        # Lists get shared, so leave out the links with which anyone can decide.
        place = replace(log.place_of(here), approval_link=None)
        for event in log.list_events(here, selection, None if everything else limit + 1):
            if not everything and number == limit:
                note(f"{number:,} shown; there are more: --all or --limit N")
                break
            number += 1
            document = views.of_event(event, place)
            if as_json:
                print_json(document)
            else:
                click.echo(event_line(document))
    if not number:
        note("No matching events.")
