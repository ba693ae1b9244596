"""The `darkroom batch` commands: one file per command, imported when it is called."""

import click

from tasks.cli.ui.late_group import Commands, LateGroup

COMMANDS: Commands = {
    "check": ("tasks.cli.batch.check:check", "Check a file before it is submitted"),
    "submit": ("tasks.cli.batch.submit:submit", "Submit a file as a batch: each row once"),
    "list": ("tasks.cli.batch.list:list_batches", "List batches, newest first"),
    "show": ("tasks.cli.batch.show:show", "Show how a batch stands"),
    "watch": ("tasks.cli.batch.watch:watch", "Follow a batch until all of it is done"),
}


@click.group(cls=LateGroup, table=COMMANDS)
def batch() -> None:
    """Check, submit, steer and export batches: a sheet in, images out."""
