"""`darkroom subscriber list`: who gets events."""

import click

from tasks.cli.ui.context import open_ledger
from tasks.cli.ui.output import json_option, note, one_line, print_json
from tasks.usecases import views
from tasks.usecases.subscribers import ListedSubscriber
from tasks.usecases.subscribers import list_subscribers as usecase


@click.command("list")
@json_option
def list_subscribers(*, as_json: bool) -> None:
    """List subscribers and their health.

    Addresses are shortened because they may contain tokens. Subscribers declared in the settings are marked; change
    them there. `notify` marks hosts that submissions have named for their own events.
    """
    with open_ledger() as here:
        found = usecase(here)
    for one in found:
        if as_json:
            print_json(views.of_subscriber(one))
        else:
            click.echo(line_of(one))
    if not found:
        note("There are no subscribers; `darkroom subscriber add URL` adds one.")


def line_of(one: ListedSubscriber) -> str:
    """Describe one subscriber on a line for people."""
    row = one.row
    selected = [",".join(one.types)] if list(one.types) != ["*"] else []
    if row is not None:
        selected += [f"{what}={chosen}" for what in ("batch", "provider") if (chosen := getattr(row, what))]
        selected += [f"{name}={value}" for name, value in (row.labels or {}).items()]
    waiting = f"{one.waiting:,} waiting" if one.waiting else ""
    why = (row.disabled_reason or "") if row is not None else ""
    by = "declared" if one.declared else _addresses(one.addresses)
    facts = (one.name, one.kind, one.address, one.state.value, by, " ".join(selected), waiting, why)
    return one_line("  ".join(fact for fact in facts if fact))


def _addresses(number: int | None) -> str:
    """The number of addresses of an origin."""
    if number is None:
        return ""
    return "1 address of a submission" if number == 1 else f"{number:,} addresses of submissions"
