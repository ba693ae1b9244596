"""`darkroom at-risk`: what was paid for and may be lost: links that die soon, and what cannot be fetched or stored."""

from datetime import timedelta

import click

from tasks.cli.ui.context import open_ledger
from tasks.cli.ui.duration_option import read_span
from tasks.cli.ui.output import json_option, note, one_line, print_json
from tasks.usecases import at_risk as usecase
from tasks.usecases import views
from tasks.usecases.at_risk import CallbackNote, RiskyAsset
from worker.generation import AssetKind, Generation
from worker.secrets import redact


@click.command("at-risk")
@click.option("--within", callback=read_span, metavar="SPAN", help="Links that die in that time; else 2h or as set.")
@json_option
@click.pass_context
def at_risk(ctx: click.Context, within: timedelta | None, as_json: bool) -> None:
    """List what is not stored yet and dies soon, or cannot be had; exit code 1 if there is any.

    The most urgent first, each with the reason and what to do; then what waits for an outcome although an answer came,
    which could not be read. All of it is tried again by itself; `darkroom retry` tries an asset at once.
    """
    with open_ledger() as here:
        found = usecase.at_risk(here, within)
    for risky in found.assets:
        if as_json:
            print_json(views.of_risky_asset(risky))
        else:
            click.echo(_line(risky))
    for callback, owner in found.unread:
        if as_json:
            print_json(views.of_unread_callback(callback, owner))
        else:
            click.echo(_line_of_unread(callback, owner))
    is_any = bool(found.assets or found.unread)
    if not is_any:
        note("there is none")
    ctx.exit(1 if is_any else 0)


def _line_of_unread(callback: CallbackNote, owner: Generation) -> str:
    why = redact(callback.error or "its last callback")
    task = owner.task_id or "of this prompt"
    return one_line(
        f"{owner.id} -  waits for its outcome; unreadable: {why}; it is asked for again by itself: look what "
        f"{owner.provider} says of task {task}; what came is applied after a fix by "
        f"`darkroom dead replay callback:{callback.id}`"
    )


def _line(risky: RiskyAsset) -> str:
    # Only people need what makes numbers readable.
    from tasks.durations import duration  # noqa: PLC0415

    asset, left, is_proven = risky.asset, risky.left, risky.is_proven
    if asset.kind is AssetKind.TEXT:
        ends = "is at hand"
    elif left > timedelta():
        ends = f"dies in {duration(left)}" if is_proven else f"may die in {duration(left)}"
    else:
        ends = f"died {duration(-left)} ago" if is_proven else f"may have died {duration(-left)} ago"
    why = f"; {asset.reason}: {redact(asset.error)}" if asset.error and asset.reason else ""
    return one_line(f"{risky.owner.id} {asset.index}  {ends}, {asset.tries} tries{why}")
