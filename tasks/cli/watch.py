"""`darkroom watch`: follow a batch or generations until they are done."""

import click

from tasks.cli.ui.context import open_ledger
from tasks.cli.ui.labels import label_filter
from tasks.cli.ui.output import json_option, note, one_line
from tasks.cli.ui.progress import follow
from tasks.usecases.queries import list_waits
from tasks.usecases.scope import BatchScope, summarize, watched


@click.command()
@click.argument("names", nargs=-1, metavar="[BATCH | GENERATION...]")
@label_filter
@json_option
@click.pass_context
def watch(ctx: click.Context, names: tuple[str, ...], labels: dict[str, str], as_json: bool) -> None:
    """Follow generations until all are done.

    Follows a batch (by name or id), generations (by key or id) with their follow-ups, or all that have a --label; by
    default, the newest batch. Failures come first, with their reasons; the last line shows totals, cost, duration and
    manifest. The exit code is 0 if all were archived, and 3 if the rest is waiting for your decisions. With --json,
    prints one line per change.
    """
    with open_ledger() as here:
        scope = watched(here, names, labels)
        if isinstance(scope, BatchScope) and scope.namesakes > 1:
            note(f"{scope.namesakes} batches are named {one_line(scope.name)}; this is the newest, {scope.id}")
        ctx.exit(follow(scope, as_json=as_json, waits=lambda: list_waits(here), summary=lambda: summarize(here, scope)))
