"""The `darkroom batch` commands: one file per command, imported when it is called."""

import click

from tasks.cli.ui.late_group import Commands, LateGroup

COMMANDS: Commands = {
    "check": ("tasks.cli.batch.check:check", "Check a file before you submit it"),
    "submit": ("tasks.cli.batch.submit:submit", "Submit a file as a batch: each row once"),
    "list": ("tasks.cli.batch.list:list_batches", "List batches, newest first"),
    "show": ("tasks.cli.batch.show:show", "Show the progress of a batch"),
    "watch": ("tasks.cli.batch.watch:watch", "Follow a batch until all of it is done"),
    "pause": ("tasks.cli.batch.pause:pause", "Stop submitting a batch for now"),
    "resume": ("tasks.cli.batch.resume:resume", "Continue a paused batch"),
    "cancel": ("tasks.cli.batch.cancel:cancel", "Cancel the part of a batch that is not submitted yet"),
    "reprioritize": ("tasks.cli.batch.reprioritize:reprioritize", "Change the priority of a batch"),
    "limit": ("tasks.cli.batch.limit:limit", "Set the start time, maximum cost and concurrency of a batch"),
    "move": ("tasks.cli.batch.move:move", "Move the unsent part of a batch to another provider"),
    "retry": ("tasks.cli.batch.retry:retry", "Retry the failed and expired generations of a batch"),
    "results": ("tasks.cli.batch.results:results", "Return every row with images, costs and reasons"),
    "download": ("tasks.cli.batch.download:download", "Download the results, named by your keys"),
}


@click.group(cls=LateGroup, table=COMMANDS)
def batch() -> None:
    """Check, submit, steer and export batches: a sheet in, images out."""
