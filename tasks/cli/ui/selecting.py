"""The arguments that select generations."""

import functools
from collections.abc import Callable
from typing import Any

import click

from tasks.cli.ui.labels import label_filter
from tasks.usecases.selection import Selection
from worker.errors import RequestInvalid
from worker.generation import State

#: up to this many named generations are printed one by one, more as totals
FEW = 10
verbose_option = click.option("-v", "--verbose", is_flag=True, help="Print one line per item.")
batch_option = click.option("--batch", metavar="BATCH", help="Only in this batch, by name or id.")
provider_option = click.option("--provider", metavar="NAME", help="Only at this provider.")
key_option = click.option("--key", metavar="PATTERN", help="Only those with a key like 'B-*', and their follow-ups.")
_state_option = click.option(
    "--state", "states", multiple=True, type=click.Choice([state.value for state in State]), help="Only in this state; "
    "repeatable.",
)  # fmt: skip

Command = Callable[..., Any]


def selecting(command: Command) -> Command:
    """Add GENERATION… or --batch, --state, --provider, --key and --label, passed to the command as one `selection`."""

    @click.argument("names", nargs=-1, metavar="[GENERATION]...")
    @batch_option
    @_state_option
    @provider_option
    @key_option
    @label_filter
    @functools.wraps(command)
    def with_selection(*arguments: Any, names: tuple[str, ...], batch: str | None, states: tuple[str, ...],
                       provider: str | None, key: str | None, labels: dict[str, str], **more: Any) -> Any:  # fmt: skip
        try:
            wanted = tuple(State(state) for state in states)
            selection = Selection(names=names, batch=batch, states=wanted, provider=provider, key=key, labels=labels)
        except RequestInvalid as error:
            raise click.UsageError(str(error)) from error
        return command(*arguments, selection=selection, **more)

    return with_selection
