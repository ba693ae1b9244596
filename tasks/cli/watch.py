"""`darkroom watch`: follow a batch or some generations."""

from collections.abc import Sequence

import click

from tasks.cli.ui.context import open_ledger_and_settings
from tasks.cli.ui.output import json_option
from tasks.cli.ui.progress import follow
from tasks.usecases.scope import BatchScope, FamilyScope, Scope, newest_scope
from tasks.waiting import waits_of
from worker.ledger import Ledger


@click.command()
@click.argument("names", nargs=-1, metavar="[BATCH | GENERATION...]")
@json_option
@click.pass_context
def watch(ctx: click.Context, names: tuple[str, ...], as_json: bool) -> None:
    """Follow generations until all of them are done.

    One batch, or generations with the follow-ups that grow out of them; without a name the newest batch. The exit code
    is 0 if all were archived. With --json, one line for each change.
    """
    with open_ledger_and_settings() as (ledger, settings):
        scope = _scope(ledger, names)
        ctx.exit(0 if follow(scope, as_json=as_json, waits=lambda: waits_of(ledger, settings)) else 1)


def _scope(ledger: Ledger, names: Sequence[str]) -> Scope:
    if not names:
        return newest_scope(ledger)
    if len(names) == 1 and not names[0].startswith("gen_"):
        return BatchScope(ledger, names[0])
    return FamilyScope(ledger, names)
