"""`darkroom db`: the ledger's tables."""

from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

import click

from tasks.cli.ui.context import open_ledger, read_settings
from tasks.cli.ui.output import json_option, note, one_line, print_json
from tasks.cli.ui.share import share
from tasks.cli.ui.style import size as in_bytes
from tasks.durations import duration
from tasks.usecases import views
from tasks.usecases.ledger_tables import measure_ledger, upgrade_ledger
from worker.secrets import redact

if TYPE_CHECKING:
    from tasks.usecases.rehearsal import Rehearsal


@click.group()
def db() -> None:
    """Manage the ledger's tables."""


@db.command()
@json_option
def upgrade(as_json: bool) -> None:
    """Upgrade the tables to this version.

    Repeating it changes nothing. There is no downgrade: before an upgrade, run `darkroom db rehearse` and back up the
    ledger; to go back, restore it.
    """
    upgraded = upgrade_ledger(read_settings(), partial(click.echo, err=True))
    before, after = upgraded.before, upgraded.after
    if as_json:
        print_json(views.of_upgraded(upgraded))
    elif before == after:
        click.echo(f"the ledger is already at revision {after}")
    else:
        click.echo(f"the ledger was upgraded from revision {before or 'none'} to {after}")


@db.command()
@click.option("--scratch", metavar="URL", help="An empty PostgreSQL database for the copy; emptied at the end.  "
              "[default: one created beside the ledger]")  # fmt: skip
@json_option
@click.pass_context
def rehearse(ctx: click.Context, scratch: str | None, as_json: bool) -> None:
    """Upgrade a copy of the ledger and check it.

    Shows how long each migration takes, then checks the copy's tables and runs the queries of `darkroom doctor` on it.
    The ledger itself is only read and remains usable. A copy of an SQLite ledger is made in TMPDIR and needs
    three times the size of the ledger. The copy is removed at the end; if a rehearsal is killed, the next one removes
    its copy.

    The exit code is 1 if the upgrade would fail.
    """
    # Slow to import (it needs doctor's modules); the other commands do without it.
    from tasks.usecases.rehearsal import RehearsalRequest, RehearsalTold  # noqa: PLC0415
    from tasks.usecases.rehearsal import rehearse as usecase  # noqa: PLC0415

    settings = read_settings()
    with share("copying the ledger") as progress:
        rehearsal = usecase(settings, RehearsalRequest(scratch), RehearsalTold(progress, note))
    if as_json:
        print_json(views.of_rehearsal(rehearsal))
    elif not rehearsal.is_needed:
        click.echo(f"the ledger is at revision {rehearsal.after}: there is nothing to rehearse")
    else:
        _print(rehearsal)
    ctx.exit(0 if rehearsal.is_ok else 1)


def _print(rehearsal: "Rehearsal") -> None:
    for one in rehearsal.migrations:
        click.echo(f"{one.migration.revision}{duration(timedelta(seconds=one.seconds)):>10}  {one.migration.title}")
    for problem in rehearsal.problems:
        click.echo(one_line(redact(problem)))
    copied = f"on a copy of {in_bytes(rehearsal.bytes)}"
    if rehearsal.problems:
        note(f"the upgrade from revision {rehearsal.before} would fail: tried {copied}; the ledger is unchanged")
        return
    whole = duration(timedelta(seconds=sum(one.seconds for one in rehearsal.migrations)))
    note(
        f"the upgrade from revision {rehearsal.before} to {rehearsal.after} succeeds: it took {whole} {copied}, which "
        f"then has {in_bytes(rehearsal.bytes_after)}; the ledger is unchanged"
    )


@db.command()
@json_option
def size(as_json: bool) -> None:
    """Show the row count and the size of each table, including indexes.

    Counts every row, which takes minutes on a large ledger but blocks nothing.
    """
    with open_ledger() as here:
        whole = measure_ledger(here)
    if as_json:
        print_json(views.of_ledger_size(whole))
        return
    for one in sorted(whole.tables, key=lambda table: (-(table.bytes or 0), -table.rows, table.name)):
        click.echo(f"{one.name:<18}{one.rows:>14,} rows{in_bytes(one.bytes) if one.bytes is not None else '':>14}")
    free = f", {in_bytes(whole.free)} of it free for new rows" if whole.free else ""
    note(f"{in_bytes(whole.bytes)} in total{free}")
