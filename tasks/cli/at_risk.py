"""`darkroom at-risk`: paid results that may be lost because links expire soon, or downloads or uploads fail."""

from datetime import timedelta

import click

from tasks.cli.ui.context import open_ledger
from tasks.cli.ui.duration_option import read_span
from tasks.cli.ui.labels import label_filter
from tasks.cli.ui.output import json_option, note, one_line, print_json
from tasks.usecases import at_risk as usecase
from tasks.usecases import views
from tasks.usecases.at_risk import CallbackNote, RiskyAsset
from worker.generation import AssetKind, Generation
from worker.secrets import redact


@click.command("at-risk")
@click.option(
    "--within",
    callback=read_span,
    metavar="SPAN",
    help="Links that expire within SPAN.  [default: DARKROOM_AT_RISK_HOURS]",
)
@label_filter
@json_option
@click.pass_context
def at_risk(ctx: click.Context, within: timedelta | None, labels: dict[str, str], as_json: bool) -> None:
    """List results that may be lost; exit code 1 if there are any.

    Lists assets that are not stored yet and whose link expires soon or whose download keeps failing, most urgent first;
    then generations still waiting for an outcome because their callback was unreadable. All of them are retried
    automatically; `darkroom retry` tries an asset at once.
    """
    with open_ledger() as here:
        found = usecase.at_risk(here, within, labels)
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
        note("Nothing is at risk.")
    ctx.exit(1 if is_any else 0)


def _line_of_unread(callback: CallbackNote, owner: Generation) -> str:
    why = redact(callback.error or "its last callback")
    task = owner.task_id or "with this prompt"
    return one_line(
        f"{owner.id} -  waiting for its outcome; unreadable callback: {why}; polling continues; check task "
        f"{task} at {owner.provider}; after a fix, `darkroom dead replay callback:{callback.id}` applies the callback"
    )


def _line(risky: RiskyAsset) -> str:
    # JSON output does not need the formatting helpers.
    from tasks.durations import duration  # noqa: PLC0415

    asset, left, is_proven = risky.asset, risky.left, risky.is_proven
    if asset.kind is AssetKind.TEXT:
        ends = "text"
    elif left > timedelta():
        ends = f"link expires in {duration(left)}" if is_proven else f"link may expire in {duration(left)}"
    else:
        ends = f"link expired {duration(-left)} ago" if is_proven else f"link may have expired {duration(-left)} ago"
    why = f"; {asset.reason}: {redact(asset.error)}" if asset.error and asset.reason else ""
    return one_line(f"{risky.owner.id} {asset.index}  {ends}, {asset.tries} tries{why}")
