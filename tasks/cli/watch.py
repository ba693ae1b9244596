"""`darkroom watch`: follow a batch or some generations."""

import click

from tasks.cli.ui.context import open_ledger
from tasks.cli.ui.output import json_option
from tasks.cli.ui.progress import follow
from tasks.usecases.queries import list_waits
from tasks.usecases.scope import watched


@click.command()
@click.argument("names", nargs=-1, metavar="[BATCH | GENERATION...]")
@json_option
@click.pass_context
def watch(ctx: click.Context, names: tuple[str, ...], as_json: bool) -> None:
    """Follow generations until all of them are done.

    One batch, or generations with the follow-ups that grow out of them; without a name the newest batch. The exit code
    is 0 if all were archived. With --json, one line for each change.
    """
    with open_ledger() as here:
        scope = watched(here, names)
        ctx.exit(0 if follow(scope, as_json=as_json, waits=lambda: list_waits(here)) else 1)
