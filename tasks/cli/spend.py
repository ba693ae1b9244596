"""`darkroom spend`: what generations cost, may still cost, and how much each budget has left."""

from collections.abc import Sequence
from datetime import timedelta

import click

from tasks.cli.ui.context import open_ledger
from tasks.cli.ui.duration_option import read_span
from tasks.cli.ui.output import json_option, note, one_line, print_json
from tasks.usecases import spend as usecase
from tasks.usecases import views
from tasks.usecases.spend import By, SpendRequest, Spent, Standing
from worker.pricing import Prices, as_text

_AMOUNTS = ("known", "possible", "reserved", "total")


@click.command()
@click.option(
    "--by",
    type=click.Choice([by.value for by in By]),
    default=By.DAY.value,
    show_default=True,
    help="Group rows by this.",
)
@click.option(
    "--since",
    callback=read_span,
    default="30d",
    show_default=True,
    metavar="SPAN",
    help="Only what was submitted since then, in whole days of DARKROOM_TIMEZONE.",
)
@json_option
def spend(by: str, since: timedelta, as_json: bool) -> None:
    """Show spending and remaining budgets.

    known: paid. possible: the outcome is unknown, and the provider may have charged. reserved: in progress. All three
    count against a cap.
    """
    with open_ledger() as here:
        spending = usecase.spend(here, SpendRequest(By(by), since))
    if as_json:
        print_json(views.of_spending(spending))
        return
    prices, rows, total = spending.prices, spending.rows, spending.total
    if prices is None:
        example = "deploy/prices.example.yaml is an example"
        note(f"DARKROOM_PRICES is not set, so new submissions have no price and are not counted; {example}")
    if rows:
        _print_totals(by, [*rows, total] if len(rows) > 1 else rows)
    elif prices is not None:
        note(f"Nothing spent since {spending.first}.")
    for one in spending.assumed:
        note(
            f"{as_text(one.amount)} of it, at {one.provider}, is counted at the highest known factor, because the "
            f"price file has none for {', '.join(one.extras)}"
        )
    if prices and spending.caps:
        _print_caps(prices, spending.caps)


def _print_totals(by: str, rows: Sequence[Spent]) -> None:
    from rich.table import Table  # noqa: PLC0415

    from tasks.cli.ui.style import console  # noqa: PLC0415

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column(by, overflow="fold")
    for name in _AMOUNTS:
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(one_line(row.name), *(as_text(getattr(row, name)) for name in _AMOUNTS))
    console().print(table)
    if late := rows[-1].late:
        note(f"{as_text(late)} of it was charged late: released on failure, charged when it succeeded after all")


def _print_caps(prices: Prices, caps: Sequence[Standing]) -> None:
    from rich.table import Table  # noqa: PLC0415

    from tasks.cli.ui.style import console  # noqa: PLC0415

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column(f"budget ({prices.currency})", overflow="fold")
    for name in ("cap", "used", "left", "waiting"):
        table.add_column(name, justify="right", no_wrap=True)
    for cap in caps:
        style = "yellow" if cap.waiting else None
        waiting = str(cap.waiting or "")
        table.add_row(one_line(cap.name), as_text(cap.cap), as_text(cap.used), as_text(cap.left), waiting, style=style)
    screen = console()
    screen.print()
    screen.print(table)
