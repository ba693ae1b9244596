"""`darkroom events listen`: events as they happen."""

import sys
from contextlib import ExitStack

import click

from tasks.cli.ui.context import open_ledger
from tasks.cli.ui.event_options import event_line, types_option
from tasks.cli.ui.output import json_option, note, one_line, print_json
from tasks.cli.ui.selecting import batch_option
from tasks.usecases import views
from tasks.usecases.events import log
from tasks.usecases.events.forward import Forwarder
from tasks.usecases.events.log import EventSelection
from worker.errors import LedgerUnavailable
from worker.secrets import redact


@click.command()
@types_option
@batch_option
@click.option("--after", metavar="ID", help="Start after this event instead of with the next one.")
@click.option("--forward-to", "url", metavar="URL", help="Post each event to this URL, signed like a webhook.")
@json_option
def listen(*, types: tuple[str, ...], batch: str | None, after: str | None, url: str | None, as_json: bool) -> None:
    """Print events as they happen; with --forward-to, also post them to a URL, for example on this machine.

    Reads the ledger, so it needs neither a public address nor a tunnel. It is not a subscriber: nothing is queued for
    it. The secret for --forward-to stays the same on this machine. An event that is not accepted is reported but not
    sent again. Stop with Ctrl-C; use --after to continue from there.
    """
    last = after
    with ExitStack() as stack:
        here = stack.enter_context(open_ledger())
        place = log.place_of(here)
        position = log.start_of(here, after)
        wanted = log.filter_of(here, EventSelection(types=types, batch=batch))
        forwarder = stack.enter_context(Forwarder(here, url)) if url is not None else None
        if forwarder is not None:
            note(f"signing with {forwarder.secret}")
        note("Listening; stop with Ctrl-C.")
        try:
            for event in log.listen(here, wanted, position, _tell):
                document = views.of_event(event, place)
                if as_json:
                    print_json(document)
                else:
                    click.echo(event_line(document))
                sys.stdout.flush()
                if forwarder is not None:
                    answer = forwarder.send(document)
                    said = f"HTTP {answer.status}" if answer.status else f"not delivered: {answer.error}"
                    note(f"  -> {one_line(said)}  {event.public_id}")
                last = event.public_id
        except KeyboardInterrupt:
            note(f"To continue: darkroom events listen --after {last}" if last else "No events.")


def _tell(error: LedgerUnavailable) -> None:
    note(one_line(redact(f"the ledger is unavailable, retrying: {error}")))
