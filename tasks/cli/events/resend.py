"""`darkroom events resend`: deliver events to subscribers again."""

from datetime import timedelta

import click

from tasks.cli.ui.context import open_ledger
from tasks.cli.ui.duration_option import read_span
from tasks.cli.ui.output import json_option, many, one_line, print_json
from tasks.cli.ui.wakeup import ring
from tasks.usecases import views
from tasks.usecases.events import resend as usecase
from tasks.usecases.events.resend import ResendRequest
from worker.errors import RequestInvalid


@click.command()
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option("--since", callback=read_span, metavar="SPAN", help="All events of the last SPAN that --subscriber gets.")
@click.option("--subscriber", metavar="NAME", help="Only to this subscriber, as named in `darkroom dead` and `doctor`.")
@json_option
def resend(*, ids: tuple[str, ...], since: timedelta | None, subscriber: str | None, as_json: bool) -> None:
    """Deliver events to subscribers again, oldest first, whether or not they received them.

    Events keep their ids, so a subscriber that deduplicates by id ignores repeats. For abandoned events, use `darkroom
    dead replay`.
    """
    try:
        request = ResendRequest(ids=ids, since=since, subscriber=subscriber)
    except RequestInvalid as error:
        raise click.UsageError(str(error)) from error
    with open_ledger() as here:
        result = usecase.resend(here, request)
    for name, resent in result.by_subscriber.items():
        if as_json:
            print_json(views.of_resent(name, resent))
        else:
            waiting = f"; {resent.waiting:,} already waiting" if resent.waiting else ""
            click.echo(one_line(f"{name}  {many(resent.resent, 'event')} will be delivered again{waiting}"))
    if result.wakes:
        ring(*result.wakes)
