"""`darkroom batch limit`: set the start time, maximum cost and concurrency of a batch."""

from datetime import datetime

import click

from tasks.cli.ui.context import open_ledger
from tasks.cli.ui.output import json_option
from tasks.cli.ui.steered import batch_argument, print_steered, read_cost, read_start
from tasks.usecases.batches import steer
from tasks.usecases.batches.steer import NewSteering


@click.command()
@batch_argument
@click.option(
    "--start-at",
    metavar="TIME",
    callback=read_start,
    help="Submit nothing before TIME, such as '2026-12-01 18:00', 18:00 or 2h.",
)
@click.option("--no-start-at", is_flag=True, help="Start now.")
@click.option("--max-cost", metavar="AMOUNT", callback=read_cost, help="Submit nothing that would exceed this total.")
@click.option("--no-max-cost", is_flag=True, help="Apply only the caps of the price file.")
@click.option(
    "--max-in-flight",
    metavar="NUMBER",
    type=click.IntRange(1, 10**6),
    help="Maximum number of generations at providers at once.",
)
@click.option("--no-max-in-flight", is_flag=True, help="As many as the accounts allow.")
@json_option
def limit(
    batch: str, *, start_at: datetime | None, no_start_at: bool, max_cost: int | None, no_max_cost: bool,
    max_in_flight: int | None, no_max_in_flight: bool, as_json: bool,
) -> None:  # fmt: skip
    """Set the start time, maximum cost and concurrency of a batch.

    Settings that you do not give stay as they are. What has reached a provider continues, and counts toward the limits.
    The maximum cost covers the whole batch, in the currency of the price file; if a cap there is lower, that cap
    applies. Without a price file, nothing has a cost.
    """
    changes: NewSteering = {}
    if start_at is not None or no_start_at:
        changes["start_at"] = start_at
    if max_cost is not None or no_max_cost:
        changes["max_cost"] = max_cost
    if max_in_flight is not None or no_max_in_flight:
        changes["max_in_flight"] = max_in_flight
    both = (start_at is not None and no_start_at, max_cost is not None and no_max_cost)
    if not changes or any(both) or (max_in_flight is not None and no_max_in_flight):
        raise click.UsageError("give --start-at, --max-cost or --max-in-flight, or --no-… to remove one")
    with open_ledger() as here:
        steered = steer.limit(here, batch, changes)
    print_steered(steered, as_json=as_json)
