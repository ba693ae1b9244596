"""What the commands that steer a batch print, and the times and amounts that they accept."""

import re
from datetime import UTC, datetime, timedelta

import click

from tasks.cli.ui.duration_option import read_span
from tasks.cli.ui.output import lines_only, print_json
from tasks.cli.ui.totals import totals
from tasks.cli.ui.wakeup import ring
from tasks.usecases import views
from tasks.usecases.batches.steer import Steered
from worker.pricing import read_amount

batch_argument = click.argument("batch", metavar="BATCH")
_TIME_OF_DAY = re.compile(r"([01]?[0-9]|2[0-3]):([0-5][0-9])")


def print_steered(steered: Steered, *, as_json: bool) -> None:
    """Print one document, or lines about the batch, its generations and each note; then wake the workers."""
    if as_json:
        print_json(views.of_steered(steered))
    else:
        click.echo(lines_only(f"{steered.after.name}: {steered.told}"))
        if steered.done or steered.left:
            click.echo(totals(steered.done or {"changed": 0}, steered.left))
        for text in steered.notes:
            click.echo(text)
    if steered.wakes:
        ring(*steered.wakes)


def read_cost(_: click.Context, __: click.Parameter, given: str | None) -> int | None:
    """Parse an amount into millionths."""
    if given is None:
        return None
    if (amount := read_amount(given)) is None:
        raise click.BadParameter(f"{given!r} is not an amount such as 0.05 or 20, with at most six decimals")
    return amount


def read_start(ctx: click.Context, parameter: click.Parameter, given: str | None) -> datetime | None:
    """Parse `2026-12-01 18:00` (local time unless it has a zone), `18:00` (the next one), or `2h` from now."""
    if given is None:
        return None
    now = datetime.now(UTC)
    if (found := _TIME_OF_DAY.fullmatch(given)) is not None:
        local = now.astimezone()
        at = local.replace(hour=int(found[1]), minute=int(found[2]), second=0, microsecond=0)
        return (at if at > local else at + timedelta(days=1)).astimezone(UTC)
    if re.fullmatch(r"[0-9]+[mhd]", given):
        return now + (read_span(ctx, parameter, given) or timedelta())
    try:
        return datetime.fromisoformat(given).astimezone(UTC)
    except (ValueError, OverflowError):
        raise click.BadParameter(
            f"{given!r} is not a time such as '2026-12-01 18:00', 18:00 (the next one) or 2h (from now)"
        ) from None
