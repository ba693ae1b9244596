"""`darkroom doctor`: check everything that Darkroom needs."""

import click
from rich.table import Table
from rich.text import Text

from tasks.cli.ui.context import read_settings
from tasks.cli.ui.output import json_option, one_line, print_json
from tasks.cli.ui.style import console
from tasks.usecases import views
from tasks.usecases.doctor import Diagnosis, Finding, Verdict, diagnose
from worker.secrets import configure_logging, redact

_STYLE = {Verdict.OK: "green", Verdict.WARN: "yellow", Verdict.FAIL: "bold red"}
#: width of the column of names; longer account names are folded
_NAME_WIDTH = 16


@click.command()
@json_option
@click.pass_context
def doctor(ctx: click.Context, as_json: bool) -> None:
    """Check everything Darkroom needs and say how to fix it.

    All checks run at once; on a terminal, each result is printed as it arrives. The exit code is 1 if a check fails,
    and 0 if there are only warnings.
    """
    diagnosis = examine(as_json=as_json)
    if as_json:
        print_json(views.of_diagnosis(diagnosis))
    ctx.exit(0 if diagnosis.is_ok else 1)


def examine(*, as_json: bool = False) -> Diagnosis:
    """Print the findings, unless the caller prints them as JSON."""
    # The findings already report what libraries would log about an unreachable server.
    configure_logging("CRITICAL")
    at_once = not as_json and console().is_terminal
    diagnosis = diagnose(read_settings, _print if at_once else lambda _: None)
    for finding in () if at_once or as_json else diagnosis.findings:
        _print(finding)
    return diagnosis


def _print(finding: Finding) -> None:
    table = Table.grid(padding=(0, 2))
    table.add_column(width=4)
    table.add_column(width=_NAME_WIDTH)
    table.add_column(overflow="fold")
    verdict = Text(finding.verdict, style=_STYLE[finding.verdict])
    table.add_row(verdict, finding.check, Text(one_line(redact(finding.message))))
    console().print(table)
