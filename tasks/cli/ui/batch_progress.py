"""Following a batch as a whole: a bar and a paragraph on a terminal, a line now and then elsewhere."""

import time
from collections.abc import Callable

import click
from rich.console import Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from tasks.cli.ui.batch_text import counted, paragraph
from tasks.cli.ui.output import note, print_json
from tasks.cli.ui.progress import Ending, Patience, ending, looks, summary_text
from tasks.cli.ui.style import console
from tasks.durations import elapsed
from tasks.usecases import views
from tasks.usecases.batches.show import BatchDetails
from tasks.usecases.scope import BatchScope, Scope, Summary

#: seconds between lines without a terminal
_TOLD_EVERY = 10.0


def follow_batch(
    batch: BatchScope, look: Callable[[], BatchDetails], summary: Callable[[], Summary], *, as_json: bool = False
) -> Ending:
    """Show the batch's progress until all of it is done or waits for a person; return WELL if nothing failed.

    Waits out an unreachable ledger.
    """
    patience = Patience(lambda: False)
    scope = patience.of(batch)
    screen = console(stderr=True)
    if as_json or not screen.is_terminal:
        _print_changes(scope, lambda: patience.read(look), as_json=as_json)
    else:
        with Live(console=screen, auto_refresh=False, vertical_overflow="crop") as live:
            for _ in looks(scope, lambda: False):
                live.update(_picture(patience.read(look)), refresh=True)
    if not as_json:
        note(summary_text(patience.read(summary)))
    return ending(scope, is_good=not patience.read(batch.has_failed))


def _picture(details: BatchDetails) -> Group:
    total = max(1, details.batch.total)
    # A bar on its own does not end its line.
    bar = Table.grid()
    bar.add_row(ProgressBar(total=total, completed=details.batch.done, width=40, complete_style="green"))
    return Group(bar, *(Text(line) for line in paragraph(details)))


def _print_changes(scope: Scope, look: Callable[[], BatchDetails], *, as_json: bool) -> None:
    told, told_at = None, 0.0
    for is_last in looks(scope, lambda: False):
        details = look()
        counts = dict(details.batch.counts)
        is_due = told is None or is_last or time.monotonic() - told_at >= _TOLD_EVERY
        if counts == told or not is_due:
            continue
        if as_json:
            print_json(views.of_batch_details(details))
        elif told is None:
            for line in paragraph(details):
                click.echo(line, err=True)
        else:
            click.echo(_line(details), err=True)
        told, told_at = counts, time.monotonic()


def _line(details: BatchDetails) -> str:
    batch = details.batch
    left = "" if details.left is None else f"; about {elapsed(details.left)} left"
    return f"{batch.done:,} of {batch.total:,} done: {counted(batch.counts)}{left}"
