"""The `darkroom batch` commands: one file per command, imported when it is called."""

import click

from tasks.cli.ui.late_group import Commands, LateGroup

COMMANDS: Commands = {
    "retry": ("tasks.cli.batch.retry:retry", "Retry what failed of a batch"),
}


@click.group(cls=LateGroup, table=COMMANDS)
def batch() -> None:
    """Check, submit, steer and export batches: a sheet in, images out."""
