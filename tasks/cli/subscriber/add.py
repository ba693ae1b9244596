"""`darkroom subscriber add`: add a subscriber, which gets events from now on."""

import click

from tasks.cli.ui.context import open_ledger
from tasks.cli.ui.event_options import types_option
from tasks.cli.ui.labels import label_filter
from tasks.cli.ui.operator import who
from tasks.cli.ui.output import json_option, note, one_line, print_json
from tasks.usecases import views
from tasks.usecases.subscribers import AddRequest, Format, add_subscriber
from worker.errors import RequestInvalid


@click.command()
@click.argument("url", required=False)
@click.option("--task", metavar="NAME[@QUEUE]", help="A Celery task of another application, on your broker.")
@click.option("--stream", metavar="STREAM", help="A Redis stream; or redis://host/0#STREAM for another Redis.")
@click.option("--name", help="Name of the subscriber; by default derived from the address.")
@types_option
@click.option("--batch", metavar="BATCH", help="Only events of this batch, by name or id.")
@click.option("--provider", metavar="PROVIDER", help="Only events of this provider.")
@label_filter
@click.option(
    "--format", "form", type=click.Choice([one.value for one in Format]), default=Format.STANDARD.value,
    show_default=True,
    help="What a URL gets: the event, or a line of text for Slack (or Discord's /slack).",
)  # fmt: skip
@json_option
def add(
    *, url: str | None, task: str | None, stream: str | None, name: str | None, types: tuple[str, ...],
    batch: str | None, provider: str | None, labels: dict[str, str], form: str, as_json: bool,
) -> None:  # fmt: skip
    """Add a webhook (URL), a Celery task or a Redis stream that gets events from now on.

    Each URL gets its own secret, which is shown once. The options select events; all of them must match.
    """
    try:
        request = AddRequest(
            url=url, task=task, stream=stream, name=name, types=types, batch=batch, provider=provider, labels=labels,
            format=Format(form), by=who(),
        )  # fmt: skip
    except RequestInvalid as error:
        raise click.UsageError(str(error)) from error
    with open_ledger() as here:
        added = add_subscriber(here, request)
    if as_json:
        print_json(views.of_added_subscriber(added))
        return
    if added.secret is not None:
        click.echo(added.secret)
        note("Save it now: it is shown only once. Receivers verify the signature of each event with it.")
    note(one_line(f"added {added.listed.name}; try it with: darkroom subscriber test {added.listed.name}"))
