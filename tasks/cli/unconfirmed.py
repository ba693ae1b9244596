"""`darkroom unconfirmed`: submissions with an unknown outcome, and what is known about each."""

from datetime import datetime

import click

from tasks.cli.ui.candidates import perhaps
from tasks.cli.ui.context import open_ledger
from tasks.cli.ui.labels import label_filter
from tasks.cli.ui.output import json_option, note, one_line, print_json
from tasks.durations import duration
from tasks.usecases import views
from tasks.usecases.resolve import Unconfirmed, list_unconfirmed
from worker.secrets import DEFAULT_ACCOUNT, redact, title_of


@click.command()
@click.option("--provider", metavar="NAME", help="Only at this provider.")
@label_filter
@json_option
def unconfirmed(provider: str | None, labels: dict[str, str], as_json: bool) -> None:
    """List submissions with an unknown outcome.

    The provider may have accepted and charged them. They are never resubmitted automatically: a late callback or the
    provider's task list may still settle them; otherwise, check with the provider and record the result with `darkroom
    resolve`.
    """
    with open_ledger() as here:
        found = list_unconfirmed(here, provider, labels)
    for one in found:
        if as_json:
            print_json(views.of_unconfirmed(one))
        else:
            click.echo(_lines(one))
    if not found:
        note("No unconfirmed submissions.")
    elif not as_json:
        note("Check the provider's own history, then: darkroom resolve ID --charged|--not-charged|--resubmit")


def _lines(one: Unconfirmed) -> str:
    # JSON output does not need the formatting helpers.
    from tasks.cli.ui.style import cut, prompt_text  # noqa: PLC0415

    unclear, generation = one.unclear, one.unclear.generation
    came = f"callbacks: {', '.join(unclear.callbacks)}" if unclear.callbacks else "no callback"
    if not one.is_looked_for:
        looked = "the provider has no list that shows it"
    else:
        times = "once" if unclear.asked == 1 else f"{unclear.asked} times"
        looked = f"searched in the provider's list {times}, {_until(unclear.asked_again_at, unclear.sent_at + one.age)}"
    due = "needs a manual decision" if one.is_over else f"wait until {one.horizon_at.astimezone():%Y-%m-%d %H:%M}"
    whose = title_of(generation.provider, generation.account or DEFAULT_ACCOUNT)
    lines = [
        f"{generation.id}{f'  {generation.key}' if generation.key else ''}  {whose}  sent {duration(one.age)} ago",
        cut(prompt_text(generation)),
        f"{came}; {looked}; {due}",
        redact(unclear.error or generation.message or ""),
        f"possibly {candidates}" if (candidates := perhaps(generation.id, unclear.candidates)) else "",
    ]
    return "\n  ".join(one_line(line) for line in lines if line)


def _until(again: datetime | None, now: datetime) -> str:
    from tasks.durations import duration  # noqa: PLC0415

    if again is None:
        return "no more"
    return f"again in {duration(again - now)}" if again > now else "again now"
