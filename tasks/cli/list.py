"""`darkroom list`: the newest generations, or those of one state or batch."""

from collections.abc import Iterator, Sequence

import click

from tasks.cli.connection import open_ledger
from tasks.cli.output import json_option, note, one_line, print_json
from tasks.cli.record import with_results
from tasks.usecases.selection import newest_batch
from tasks.waiting import Wait, record_of, those_of, wait_of, waits_of
from worker.generation import Generation, State
from worker.ledger import Ledger
from worker.redaction import redact

PAGE = 500


@click.command("list")
@click.option("--state", type=click.Choice([state.value for state in State]), help="Only those in this state.")
@click.option("--batch", metavar="BATCH", help="Only those of this batch, by id or name.")
@click.option(
    "--limit", type=click.IntRange(min=1), default=50, show_default=True, metavar="N", help="At most so many."
)
@json_option
def list_generations(state: str | None, batch: str | None, limit: int, as_json: bool) -> None:
    """List generations, the newest first."""
    with open_ledger() as here:
        if batch is not None:
            newest_batch(here.ledger, batch)  # which tells an unknown batch from an empty result
        waits = waits_of(here.ledger, here.settings)
        pages = _pages(here.ledger, State(state) if state else None, batch, limit)
        if as_json:
            for page in pages:
                _print_records(here.ledger, page, waits)
        else:
            found = [generation for page in pages for generation in page]
            _print_table(found)
            for wait in those_of(found, waits):
                note(f"waiting: {one_line(redact(wait.told))}")
            if not found:
                note("there is none")


def _pages(ledger: Ledger, state: State | None, batch: str | None, limit: int) -> Iterator[list[Generation]]:
    before = None
    while limit > 0:
        page = ledger.queries.page(state=state, batch=batch, limit=min(limit, PAGE), before=before)
        if not page:
            return
        yield page
        limit -= len(page)
        before = page[-1].id


def _print_records(ledger: Ledger, page: list[Generation], waits: Sequence[Wait]) -> None:
    ids = [generation.id for generation in page]
    assets, histories = ledger.queries.assets_of(ids), ledger.queries.transitions_of(ids)
    for one in page:
        waits_for = {"waits_for": record_of(wait_of(one, waits))}
        print_json(with_results(one, assets[one.id], histories[one.id]) | waits_for)


def _print_table(generations: list[Generation]) -> None:
    # Only people need what draws tables.
    from rich.table import Table  # noqa: PLC0415

    from tasks.cli.style import console, prompt_text, state_text  # noqa: PLC0415

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
