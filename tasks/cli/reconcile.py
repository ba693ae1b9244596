"""`darkroom reconcile`: is the ledger what it was? If not, a person lets submissions go on after this comparison."""

import os
import pwd
import socket
from dataclasses import replace
from datetime import datetime, timedelta

import click

from tasks.cli.connection import open_services, ring
from tasks.cli.output import json_option, note, one_line, print_json
from tasks.cli.reconcile_report import Report, document, lines
from tasks.cli.span import read_span
from tasks.comparing import compare
from worker.errors import ArchiveError, ConfigurationError
from worker.generation import State
from worker.ledger.gate import Gate
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
@click.option("--confirm", is_flag=True, help="Let submissions go on, after this comparison.")
@json_option
def reconcile(since: timedelta | None, confirm: bool, as_json: bool) -> None:
    """Compare the ledger with the bucket and the providers' lists.

    When the ledger was restored from a backup, nothing is submitted until you have looked at what this finds and have
    said --confirm. Nothing else is changed here, and nothing is charged.
    """
    with open_services() as here:
        keep_watch(here)
        report = _report(here, since)
        stopped, obstacle = report.is_stopped, _obstacle(report)
        if confirm and stopped and obstacle is None:
            _open(here, report)
            report = replace(report, gate=here.ledger.gates.look(), opened=True)
            ring("dispatch")
    if as_json:
        print_json(document(report))
    else:
        for line in lines(report):
            click.echo(one_line(redact(line)))
    if confirm and not stopped:
        note("there was nothing to confirm")
    elif confirm and obstacle is not None:
        raise ConfigurationError(f"submissions stay stopped: {obstacle}")


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
        compared=list(compare(here, start)),
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
        names = ", ".join(one.provider for one in silent)
        return f"{names} could not be compared: try again, or take its key away so that nothing is submitted there"
    return None


def _open(here: Services, report: Report) -> None:
    # First the bucket: if the ledger then stays closed, this is simply done again.
    following = here.ledger.gates.next_marker(report.marker)
    write(here.archive, following)
    here.ledger.gates.open(following, _who())


def _who() -> str:
    """Of the operating system; LOGNAME could be anybody's."""
    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        # Containers often run under a number that nobody has.
        name = f"uid {os.getuid()}"
    return f"{name} on {socket.gethostname()}"
