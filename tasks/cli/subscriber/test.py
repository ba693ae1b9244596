"""`darkroom subscriber test`: send one subscriber an example and show its reply."""

import click

from tasks.cli.ui.context import open_ledger
from tasks.cli.ui.output import json_option, one_line, print_json
from tasks.usecases import views
from tasks.usecases.events.published import EVENTS
from tasks.usecases.subscribers import try_subscriber


@click.command()
@click.argument("name")
@click.option("--type", "event_type", default="generation.archived", show_default=True, metavar="TYPE", help="Type.")
@json_option
@click.pass_context
def test(ctx: click.Context, *, name: str, event_type: str, as_json: bool) -> None:
    """Send an example to a subscriber, whatever events it selects, and show its reply.

    It is marked "test": true and not recorded. The exit code is 1 if the subscriber refuses it.
    """
    if event_type not in EVENTS:
        raise click.UsageError(f"unknown event type {event_type!r}; expected one of {', '.join(EVENTS)}")
    with open_ledger() as here:
        tested = try_subscriber(here, name, event_type)
    document = views.of_tested_subscriber(tested)
    if as_json:
        print_json(document)
    else:
        said = document["error"] or "accepted"
        status = f"HTTP {tested.status}" if tested.status and tested.error is None else ""
        facts = (name, tested.event_id, said, status, f"{tested.seconds} s", tested.reply)
        click.echo(one_line("  ".join(fact for fact in facts if fact)))
    ctx.exit(1 if tested.error else 0)
