"""`darkroom subscriber show`: a subscriber and the outcomes of its last deliveries."""

import click

from tasks.cli.subscriber.list import line_of
from tasks.cli.ui.context import open_ledger
from tasks.cli.ui.output import json_option, note, one_line, print_json
from tasks.usecases import views
from tasks.usecases.subscribers import show_subscriber


@click.command()
@click.argument("name")
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, metavar="N", help="At most N.")
@json_option
def show(name: str, *, limit: int, as_json: bool) -> None:
    """Show a subscriber and its last deliveries, newest first, with the replies to the last tries of each delivery."""
    with open_ledger() as here:
        found, deliveries = show_subscriber(here, name, limit)
    if as_json:
        print_json(views.of_shown_subscriber(found, deliveries))
        return
    click.echo(line_of(found))
    for delivery in deliveries:
        document = views.of_shown_subscriber(found, [delivery])["deliveries"][0]
        click.echo(one_line(f"{document['event']}  {document['type']}  {document['state']}"))
        for reply in document["replies"]:
            said = f"HTTP {reply['status']}" if reply.get("status") else reply.get("error") or "accepted"
            took = f"{reply['seconds']} s" if reply.get("seconds") is not None else ""
            facts = (reply["at"], said, took, reply.get("reply"))
            click.echo("  " + one_line("  ".join(str(fact) for fact in facts if fact)))
    if not deliveries:
        note("Nothing has been delivered to it yet.")
