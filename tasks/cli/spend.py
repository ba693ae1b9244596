"""`darkroom spend`: what generations have cost and may still cost, and what is left of each budget."""

import csv
import sys
from collections.abc import Sequence
from datetime import timedelta

import click

from tasks.cli.ui.context import open_ledger
from tasks.cli.ui.duration_option import read_span
from tasks.cli.ui.labels import label_filter
from tasks.cli.ui.output import json_option, note, one_line, print_json
from tasks.usecases import spend as usecase
from tasks.usecases import views
from tasks.usecases.spend import (
    Dimension,
    SpendReport,
    SpendRequest,
    Spent,
    Standing,
    Unpriced,
    read_dimensions,
)
from worker.errors import RequestInvalid
from worker.pricing import Prices, as_text

_AMOUNTS = ("known", "possible", "reserved", "total")
#: a spreadsheet takes a cell that begins with one of these for a formula, and others may have written the text
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def _read_dimensions(_: click.Context, __: click.Parameter, given: str) -> tuple[Dimension, ...]:
    try:
        return read_dimensions(given)
    except RequestInvalid as error:
        raise click.BadParameter(str(error)) from error


@click.command()
@click.option(
    "--by",
    callback=_read_dimensions,
    default="day",
    show_default=True,
    metavar="LIST",
    help="Group rows by day, provider, batch, operation or label:NAME, or by several, such as label:client,day.",
)
@click.option(
    "--since",
    callback=read_span,
    default="30d",
    show_default=True,
    metavar="SPAN",
    help="Only what was submitted since then, in whole days in DARKROOM_TIMEZONE.",
)
@label_filter
@click.option("--csv", "as_csv", is_flag=True, help="Print the rows as CSV, for spreadsheets.")
@click.option(
    "--price-now", is_flag=True, help="Charge what was submitted without a price, at the price file's current prices."
)
@click.option("--yes", is_flag=True, help="With --price-now: do it; without --yes, only show what would be charged.")
@json_option
def spend(
    *,
    by: tuple[Dimension, ...],
    since: timedelta,
    labels: dict[str, str],
    as_csv: bool,
    price_now: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Show spending and remaining budgets.

    known: paid. possible: the outcome is unknown, and the provider may have charged. reserved: in progress. All three
    count against a cap.
    """
    if as_csv and as_json:
        raise click.UsageError("give either --csv or --json")
    if yes and not price_now:
        raise click.UsageError("--yes requires --price-now")
    if price_now and labels:
        raise click.UsageError("--price-now charges everything without a price, so it does not accept --label")
    with open_ledger() as here:
        if yes:
            priced = usecase.price_now(here, since)
            if as_json:
                print_json(views.of_priced(priced))
            else:
                click.echo(f"{priced.number:,} charged, {priced.prices.text(priced.amount)}")
            return
        spending = usecase.spend(here, SpendRequest(by, since, labels))
    if as_json:
        print_json(views.of_spending(spending))
    elif as_csv:
        _print_csv(spending)
    else:
        _print(spending)
    if price_now:
        note("nothing was charged: repeat the command with --yes")


def _print(spending: SpendReport) -> None:
    prices, rows, total = spending.prices, spending.rows, spending.total
    if prices is None:
        example = "deploy/prices.example.yaml is an example"
        note(f"DARKROOM_PRICES is not set, so new submissions have no price and are not counted; {example}")
    if rows:
        _print_totals(spending.by, [*rows, total] if len(rows) > 1 else rows)
    elif prices is not None:
        note(f"Nothing spent since {spending.first}.")
    for one in spending.assumed:
        note(
            f"{as_text(one.amount)} of it, at {one.provider}, is counted at the highest known factor, because the "
            f"price file has none for {', '.join(one.extras)}"
        )
    if prices and spending.unpriced:
        _tell_unpriced(prices, spending.unpriced)
    if prices and spending.caps:
        _print_caps(prices, spending.caps)


def _tell_unpriced(prices: Prices, unpriced: Sequence[Unpriced]) -> None:
    listed = ", ".join(f"{one.number:,} {one.provider} {one.operation}" for one in unpriced)
    number = sum(one.number for one in unpriced)
    note(f"{number:,} {'has' if number == 1 else 'have'} no price: {listed}")
    ready = [one for one in unpriced if one.amount is not None]
    if len(ready) < len(unpriced):
        note("  the price file has none for some of them: add one, even if it is 0")
    if ready:
        amount = prices.text(sum(one.amount or 0 for one in ready))
        note(f"  `darkroom spend --price-now` charges {sum(one.number for one in ready):,} of them: {amount}")


def _print_csv(spending: SpendReport) -> None:
    # Spreadsheets expect the line ends of RFC 4180, and terminals accept them.
    out = csv.writer(sys.stdout, lineterminator="\r\n")
    out.writerow([*map(str, spending.by), *_AMOUNTS, "late", "currency"])
    currency = spending.prices.currency if spending.prices else ""
    for row in spending.rows:
        names = [_as_cell(name if key is not None else "") for key, name in zip(row.keys, row.names, strict=True)]
        amounts = [as_text(getattr(row, name)) for name in (*_AMOUNTS, "late")]
        out.writerow([*names, *amounts, currency])


def _as_cell(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA) else text


def _print_totals(by: Sequence[Dimension], rows: Sequence[Spent]) -> None:
    from rich.table import Table  # noqa: PLC0415

    from tasks.cli.ui.style import console  # noqa: PLC0415

    table = Table(box=None, pad_edge=False, header_style="bold")
    for one in by:
        table.add_column(str(one), overflow="fold")
    for name in _AMOUNTS:
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        # The last row, the total, has a single name.
        names = [*map(one_line, row.names), *("" for _ in by[len(row.names) :])]
        table.add_row(*names, *(as_text(getattr(row, name)) for name in _AMOUNTS))
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
