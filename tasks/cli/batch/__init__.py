"""The `darkroom batch` commands: one file per command, imported when it is called."""

import click

from tasks.cli.ui.late_group import Commands, LateGroup

COMMANDS: Commands = {
    "move": ("tasks.cli.batch.move:move", "Move what was never sent of a batch to another provider."),
}


@click.group(cls=LateGroup, table=COMMANDS)
def batch() -> None:
    """Check, submit, steer and export batches: a sheet in, images out."""
