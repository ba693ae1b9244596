"""`darkroom list`: the newest generations, or those of one state or batch."""

import click

from tasks.cli.ui.context import open_ledger
from tasks.cli.ui.output import json_option, note, one_line, print_json
from tasks.usecases import queries as usecase
from tasks.usecases import views
from tasks.usecases.queries import ListRequest
from worker.generation import Generation, State
from worker.secrets import redact


@click.command("list")
@click.option("--state", type=click.Choice([state.value for state in State]), help="Only those in this state.")
@click.option("--batch", metavar="BATCH", help="Only those of this batch, by id or name.")
@click.option(
    "--limit", type=click.IntRange(min=1), default=50, show_default=True, metavar="N", help="At most so many."
)
@json_option
def list_generations(state: str | None, batch: str | None, limit: int, as_json: bool) -> None:
    """List generations, the newest first."""
    request = ListRequest(State(state) if state else None, batch, limit, with_results=as_json)
    with open_ledger() as here:
        listed = usecase.list_generations(here, request)
        if as_json:
            for one in listed:
                print_json(views.of_listed(one))
            return
        found = list(listed)
    _print_table([one.generation for one in found])
    for wait in {one.waits_for.name: one.waits_for for one in found if one.waits_for is not None}.values():
        note(f"waiting: {one_line(redact(wait.told))}")
    if not found:
        note("there is none")


def _print_table(generations: list[Generation]) -> None:
    # Only people need what draws tables.
    from rich.table import Table  # noqa: PLC0415

    from tasks.cli.ui.style import console, prompt_text, state_text  # noqa: PLC0415

    several = len({one.provider for one in generations}) > 1
    table = Table.grid(padding=(0, 2), expand=True)
    table.add_column(width=36, no_wrap=True)
    table.add_column(width=13, no_wrap=True)
    if several:
        table.add_column(no_wrap=True)
    table.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
    for one in generations:
        provider = [one_line(one.provider)] if several else []
        table.add_row(one.id, state_text(one.state), *provider, prompt_text(one))
    if generations:
        console().print(table)
