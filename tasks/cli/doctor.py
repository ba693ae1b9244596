"""`darkroom doctor`: is everything there that Darkroom needs?"""

import click
from rich.table import Table
from rich.text import Text

from tasks.cli.ui.context import read_settings
from tasks.cli.ui.output import json_option, one_line, print_json
from tasks.cli.ui.style import console
from tasks.usecases.doctor import Finding, Verdict, examine
from worker.errors import ConfigurationError
from worker.secrets import configure_logging, redact
from worker.services import Services

_STYLE = {Verdict.OK: "green", Verdict.WARN: "yellow", Verdict.FAIL: "bold red"}


@click.command()
@json_option
@click.pass_context
def doctor(ctx: click.Context, as_json: bool) -> None:
    """Check everything that Darkroom needs, and say what to do.

    The exit code is 1 if something fails; a warning alone is 0.
    """
    findings = _findings()
    if as_json:
        ok = all(finding.verdict is not Verdict.FAIL for finding in findings)
        print_json({"ok": ok, "checks": [_record(finding) for finding in findings]})
    else:
        table = Table.grid(padding=(0, 2))
        table.add_column(no_wrap=True)
        # Names of accounts would take the room of the sentences.
        table.add_column(max_width=24)
        table.add_column(overflow="fold")
        for finding in findings:
            verdict = Text(finding.verdict, style=_STYLE[finding.verdict])
            table.add_row(verdict, finding.check, Text(one_line(redact(finding.message))))
        console().print(table)
    ctx.exit(1 if any(finding.verdict is Verdict.FAIL for finding in findings) else 0)


def _record(finding: Finding) -> dict[str, object]:
    numbers = {"numbers": finding.numbers} if finding.numbers else {}
    return {"check": finding.check, "verdict": finding.verdict, "message": redact(finding.message), **numbers}


def _findings() -> list[Finding]:
    try:
        settings = read_settings()
    except ConfigurationError as error:
        return [Finding("settings", Verdict.FAIL, str(error))]
    # What libraries log about a server that is away is said by the finding.
    configure_logging("CRITICAL")
    here = Services(settings)
    try:
        return [Finding("settings", Verdict.OK, "can be read"), *examine(here)]
    finally:
        here.close()
