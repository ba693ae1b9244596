"""`darkroom reconcile`: is the ledger what it was? If not, a person lets submissions go on after this comparison."""

from dataclasses import replace
from datetime import datetime, timedelta

import click

from tasks.adopting import adopt
from tasks.cli.reconcile_report import Report, document, lines
from tasks.cli.ui.context import open_services, ring
from tasks.cli.ui.duration_option import read_span
from tasks.cli.ui.list_progress import pages
from tasks.cli.ui.operator import who
from tasks.cli.ui.output import json_option, note, one_line, print_json
from tasks.comparing import PAGE, compare
from worker.account_keys import title_of
from worker.errors import ArchiveError, ConfigurationError, DarkroomError
from worker.generation import State
from worker.ledger.gate import Gate
from worker.ledger.rescuing import Place
from worker.redaction import redact
from worker.restore_marker import keep_watch, read, write
from worker.services import Services

#: how far back without a better reason
_USUAL = timedelta(hours=24)
#: between the clock of a provider and ours
_EARLIER = timedelta(minutes=15)
_MOST_CALLBACKS = 1000


@click.command()
@click.option("--since", callback=read_span, metavar="SPAN", help="How far back, such as 90m or 3d; else 24h, or since "
              "the ledger was in order.")  # fmt: skip
@click.option("--confirm", is_flag=True, help="Take in what is found, and let submissions go on.")
@json_option
@click.pass_context
def reconcile(ctx: click.Context, since: timedelta | None, confirm: bool, as_json: bool) -> None:
    """Compare the ledger with the bucket and the providers' lists.

    When the ledger was restored from a backup, nothing is submitted until you have looked at what this finds and have
    said --confirm. That takes in what a Darkroom has sent meanwhile, so that it is not paid for again. Without it
    nothing is changed.

    The exit code is 1 while submissions are stopped, and when something could not be compared.
    """
    with open_services() as here:
        keep_watch(here)
        report = _report(here, since)
        stopped, obstacle = report.is_stopped, _obstacle(report)
        if confirm and stopped and obstacle is None:
            # While nothing is submitted yet: what is found in the line is not submitted again.
            adopted = _adopted(here, report)
            _open(here, report)
            queued = here.ledger.queries.counts().get(State.QUEUED, 0)
            report = replace(report, gate=here.ledger.gates.look(), opened=True, adopted=adopted, queued=queued)
    if as_json:
        print_json(document(report))
    else:
        for line in lines(report):
            click.echo(one_line(redact(line)))
    if report.opened:
        ring("dispatch", "archive", "poll")
    if confirm and not stopped:
        note("there was nothing to confirm")
    elif confirm and obstacle is not None:
        raise ConfigurationError(f"submissions stay stopped: {obstacle}")
    ctx.exit(1 if report.is_stopped or _obstacle(report) else 0)


def _report(here: Services, since: timedelta | None) -> Report:
    marker = no_marker = None
    try:
        marker = read(here.archive)
    except (ArchiveError, ConfigurationError) as error:
        no_marker = str(error)
    gate = here.ledger.gates.look()
    start = _start(here.clock(), gate, since)
    aside = here.ledger.queries.dead_callbacks(_MOST_CALLBACKS)
    return Report(
        gate=gate,
        marker=marker,
        no_marker=no_marker,
        since=start,
        compared=list(compare(here, start, pages)),
        callbacks=[one.id for one in aside if one.verdict == "orphan" and one.received_at >= start],
        queued=here.ledger.queries.counts().get(State.QUEUED, 0),
    )


def _start(now: datetime, gate: Gate | None, since: timedelta | None) -> datetime:
    if since is not None:
        return now - since
    in_order = gate.compared_at if gate and gate.closed_at else None
    return in_order - _EARLIER if in_order else now - _USUAL


def _obstacle(report: Report) -> str | None:
    """Why submissions cannot be let go on now."""
    if report.no_marker:
        return f"the bucket cannot be asked: {report.no_marker}"
    silent = [one for one in report.compared if one.trouble]
    if silent:
        names = "; ".join(title_of(one.provider, one.account) for one in silent)
        return f"{names} could not be compared: try again, or take its key away so that nothing is submitted there"
    return None


def _adopted(here: Services, report: Report) -> list[tuple[str, str]]:
    """Take in what a Darkroom has sent and this ledger does not know; task_id and generation of each."""
    adopted = []
    cause = "found in the provider's list"
    # What a Darkroom has sent was paid for, whatever the caps say.
    prices = here.prices
    for one in report.compared:
        for start in range(0, len(one.ours), PAGE):
            page = one.ours[start : start + PAGE]
            whose = one.provider, one.account
            done = adopt(here, whose, page, one.waiting, cause=cause, prices=prices)
            for task, (place, _) in zip(page, done, strict=True):
                if place.place is Place.REFUSED:
                    # What this ledger does not know it would pay for once more.
                    what = f"task {task.outcome.task_id} of {title_of(*whose)} cannot be written down ({place.error})"
                    raise DarkroomError(f"{what}, so nothing is submitted yet")
            adopted += [
                (str(task.outcome.task_id), str(place.generation_id))
                for task, (place, is_new) in zip(page, done, strict=True)
                if is_new
            ]
    return adopted


def _open(here: Services, report: Report) -> None:
    # First the bucket: if the ledger then stays closed, this is simply done again.
    following = here.ledger.gates.next_marker(report.marker)
    write(here.archive, following)
    here.ledger.gates.open(following, who())
