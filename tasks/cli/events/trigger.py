"""`darkroom events trigger`: send an example of an event."""

import click

from tasks.cli.ui.context import open_ledger
from tasks.cli.ui.output import json_option, note, one_line, print_json
from tasks.usecases import views
from tasks.usecases.events import trigger as usecase
from tasks.usecases.events.trigger import TriggerRequest
from worker.errors import RequestInvalid
from worker.secrets import redact


@click.command()
@click.argument("event_type", metavar="TYPE")
@click.option("--to", "url", metavar="URL", help="Send it to this URL, signed as `darkroom events listen` does.")
@click.option("--subscriber", metavar="NAME", help="Send it to this subscriber only.")
@json_option
@click.pass_context
def trigger(ctx: click.Context, *, event_type: str, url: str | None, subscriber: str | None, as_json: bool) -> None:
    """Send an example of an event to all subscribers, to one, or to a URL.

    It is made from the published schema, marked "test": true, and not recorded. The exit code is 1 if any receiver
    refuses it.
    """
    try:
        request = TriggerRequest(type=event_type, to=url, subscriber=subscriber)
    except RequestInvalid as error:
        raise click.UsageError(str(error)) from error
    failed = False
    with open_ledger() as here:
        for sent in usecase.trigger(here, request):
            failed = failed or sent.answer.error is not None
            if sent.secret is not None:
                note(f"signed with {sent.secret}")
            if as_json:
                print_json(views.of_answer(sent.to, sent.event["id"], sent.answer))
            else:
                said = sent.answer.error or "accepted"
                click.echo(one_line(redact(f"{sent.to}  {sent.event['id']}  {said}")))
    ctx.exit(1 if failed else 0)
