"""`darkroom doctor`: is everything there that Darkroom needs?"""

import click
from rich.table import Table
from rich.text import Text

from tasks.cli.ui.context import read_settings
from tasks.cli.ui.output import json_option, one_line, print_json
from tasks.cli.ui.style import console
from tasks.usecases import views
from tasks.usecases.doctor import Verdict, diagnose
from worker.secrets import configure_logging, redact

_STYLE = {Verdict.OK: "green", Verdict.WARN: "yellow", Verdict.FAIL: "bold red"}


@click.command()
@json_option
@click.pass_context
def doctor(ctx: click.Context, as_json: bool) -> None:
    """Check everything that Darkroom needs, and say what to do.

    The exit code is 1 if something fails; a warning alone is 0.
    """
    # What libraries log about a server that is away is said by the finding.
    configure_logging("CRITICAL")
    diagnosis = diagnose(read_settings)
    if as_json:
        print_json(views.of_diagnosis(diagnosis))
    else:
        table = Table.grid(padding=(0, 2))
        table.add_column(no_wrap=True)
        # Names of accounts would take the room of the sentences.
        table.add_column(max_width=24)
        table.add_column(overflow="fold")
        for finding in diagnosis.findings:
            verdict = Text(finding.verdict, style=_STYLE[finding.verdict])
            table.add_row(verdict, finding.check, Text(one_line(redact(finding.message))))
        console().print(table)
    ctx.exit(0 if diagnosis.is_ok else 1)
