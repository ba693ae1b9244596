"""`darkroom watch`: follow a batch or some generations."""

from collections.abc import Sequence

import click

from tasks.cli.connection import open_ledger
from tasks.cli.output import json_option
from tasks.cli.progress import follow
from tasks.cli.scope import BatchScope, FamilyScope, Scope, newest_scope
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
    with open_ledger() as here:
        scope = _scope(here.ledger, names)
        ctx.exit(0 if follow(scope, as_json=as_json, waits=lambda: waits_of(here.ledger, here.settings)) else 1)


def _scope(ledger: Ledger, names: Sequence[str]) -> Scope:
    if not names:
        return newest_scope(ledger)
    if len(names) == 1 and not names[0].startswith("gen_"):
        return BatchScope(ledger, names[0])
    return FamilyScope(ledger, names)
