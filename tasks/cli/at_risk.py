"""`darkroom at-risk`: what was paid for and may be lost: links that die soon, and what cannot be fetched or stored."""

from datetime import timedelta

import click

from tasks.cli.connection import open_ledger, read_settings
from tasks.cli.output import json_option, links_hidden, note, one_line, print_json, secrets_hidden
from tasks.cli.span import read_span
from worker.generation import Asset, AssetKind, Generation, iso
from worker.ledger.queries import CallbackNote
from worker.providers import end_is_proven
from worker.redaction import redact


@click.command("at-risk")
@click.option("--within", callback=read_span, metavar="SPAN", help="Links that die in that time; else 2h or as set.")
@json_option
@click.pass_context
def at_risk(ctx: click.Context, within: timedelta | None, as_json: bool) -> None:
    """List what is not stored yet and dies soon, or cannot be had; exit code 1 if there is any.

    The most urgent first, each with the reason and what to do; then what waits for an outcome although an answer came,
    which could not be read. All of it is tried again by itself; `darkroom retry` tries an asset at once.
    """
    within = within or read_settings().at_risk
    with open_ledger() as here:
        now = here.ledger.database.clock()
        assets = here.ledger.queries.at_risk(now + within)
        unread = here.ledger.queries.unread()
        ids = list(dict.fromkeys([*(one.generation_id for one in assets), *(str(one.generation_id) for one in unread)]))
        owners = {one.id: one for one in here.ledger.queries.get(ids)} if ids else {}
    for asset in assets:
        owner = owners[asset.generation_id]
        if as_json:
            print_json(_record(asset, owner, (asset.deadline - now).total_seconds()))
        else:
            click.echo(_line(asset, owner, asset.deadline - now))
    for callback in unread:
        owner = owners[str(callback.generation_id)]
        if as_json:
            print_json(_record_of_unread(callback, owner))
        else:
            click.echo(_line_of_unread(callback, owner))
    if not ids:
        note("there is none")
    ctx.exit(1 if ids else 0)


def _record(asset: Asset, owner: Generation, seconds_left: float) -> dict[str, object]:
    return {
        "generation": owner.id,
        "index": asset.index,
        "provider": owner.provider,
        "prompt": links_hidden(owner.prompt),
        "deadline": iso(asset.deadline),
        "seconds_left": round(seconds_left, 1),
        "tries": asset.tries,
        "renewals": asset.renewals,
        "deadline_proven": end_is_proven(owner.provider, asset),
        "reason": asset.reason,
        "error": secrets_hidden(asset.error),
        "next_try_at": iso(asset.not_before),
    }


def _record_of_unread(callback: CallbackNote, owner: Generation) -> dict[str, object]:
    return {
        "generation": owner.id,
        "index": None,
        "provider": owner.provider,
        "prompt": links_hidden(owner.prompt),
        "task_id": owner.task_id,
        "callback": f"callback:{callback.id}",
        "reason": "unreadable",
        "error": secrets_hidden(callback.error),
    }


def _line_of_unread(callback: CallbackNote, owner: Generation) -> str:
    why = redact(callback.error or "its last callback")
    task = owner.task_id or "of this prompt"
    return one_line(
        f"{owner.id} -  waits for its outcome; unreadable: {why}; it is asked for again by itself: look what "
        f"{owner.provider} says of task {task}; what came is applied after a fix by "
        f"`darkroom dead replay callback:{callback.id}`"
    )


def _line(asset: Asset, owner: Generation, left: timedelta) -> str:
    # Only people need what makes numbers readable.
    from tasks.cli.style import duration  # noqa: PLC0415

    is_proven = end_is_proven(owner.provider, asset)
    if asset.kind is AssetKind.TEXT:
        ends = "is at hand"
    elif left > timedelta():
        ends = f"dies in {duration(left)}" if is_proven else f"may die in {duration(left)}"
    else:
        ends = f"died {duration(-left)} ago" if is_proven else f"may have died {duration(-left)} ago"
    why = f"; {asset.reason}: {redact(asset.error)}" if asset.error and asset.reason else ""
    return one_line(f"{owner.id} {asset.index}  {ends}, {asset.tries} tries{why}")
