"""`darkroom batch list`: the newest batches and their progress."""

import click

from tasks.cli.ui.context import open_ledger
from tasks.cli.ui.output import json_option, note, one_line, print_json
from tasks.usecases import views
from tasks.usecases.batches.show import ListedBatch
from tasks.usecases.batches.show import list_batches as usecase
from tasks.usecases.names import short_id


@click.command("list")
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, metavar="N", help="Show at most N.")
@click.option("--all", "everything", is_flag=True, help="Show all.")
@json_option
def list_batches(*, limit: int, everything: bool, as_json: bool) -> None:
    """List batches, newest first: name, age, counts, spend and state."""
    shown: list[ListedBatch] = []
    number, more = 0, False
    with open_ledger() as here:
        for one in usecase(here, None if everything else limit + 1):
            more = not everything and number == limit
            if more:
                break
            number += 1
            if as_json:
                print_json(views.of_listed_batch(one))
            else:
                shown.append(one)
    if shown:
        _print_table(shown)
    if more:
        note(f"{number:,} shown; there are more: --all or --limit N")
    if not number:
        note("There are no batches yet.")


def _print_table(shown: list[ListedBatch]) -> None:
    # JSON output does not need tables.
    from rich.table import Table  # noqa: PLC0415

    from tasks.cli.ui.batch_text import counted  # noqa: PLC0415
    from tasks.cli.ui.style import age, console  # noqa: PLC0415

    screen = console()
    rows = [
        (short_id(one.facts.id), one_line(one.facts.name), age(one.age), one.state.value, counted(one.counts),
         one.spent or "")
        for one in shown
    ]  # fmt: skip
    if not screen.is_terminal:
        for one, row in zip(shown, rows, strict=True):
            click.echo("\t".join((one.facts.id, *row[1:])))
        return
    table = Table.grid(padding=(0, 2), expand=True)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, overflow="ellipsis")
    table.add_column(no_wrap=True, justify="right", style="bright_black")
    table.add_column(no_wrap=True)
    table.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
    table.add_column(no_wrap=True, justify="right")
    for row in rows:
        table.add_row(*row)
    screen.print(table)
