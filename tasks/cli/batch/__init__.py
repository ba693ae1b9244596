"""The `darkroom batch` commands: one file per command, imported when it is called."""

import click

from tasks.cli.ui.late_group import Commands, LateGroup

COMMANDS: Commands = {
    "check": ("tasks.cli.batch.check:check", "Check a file before it is submitted"),
    "results": ("tasks.cli.batch.results:results", "Give back every row with images, costs and reasons"),
    "download": ("tasks.cli.batch.download:download", "Download the results under your own names"),
}


@click.group(cls=LateGroup, table=COMMANDS)
def batch() -> None:
    """Check, submit, steer and export batches: a sheet in, images out."""
