"""The `darkroom batch` commands: one file per command, imported when it is called."""

import click

from tasks.cli.ui.late_group import Commands, LateGroup

COMMANDS: Commands = {
    "check": ("tasks.cli.batch.check:check", "Check a file before it is submitted"),
    "submit": ("tasks.cli.batch.submit:submit", "Submit a file as a batch: each row once"),
    "list": ("tasks.cli.batch.list:list_batches", "List batches, newest first"),
    "show": ("tasks.cli.batch.show:show", "Show how a batch stands"),
    "watch": ("tasks.cli.batch.watch:watch", "Follow a batch until all of it is done"),
    "pause": ("tasks.cli.batch.pause:pause", "Submit nothing more of a batch for now"),
    "resume": ("tasks.cli.batch.resume:resume", "Continue a paused batch"),
    "cancel": ("tasks.cli.batch.cancel:cancel", "Cancel what is not submitted yet of a batch"),
    "reprioritize": ("tasks.cli.batch.reprioritize:reprioritize", "Give a batch another priority"),
    "limit": ("tasks.cli.batch.limit:limit", "Set the start, the cost and the concurrency of a batch"),
    "move": ("tasks.cli.batch.move:move", "Move what was never sent of a batch to another provider"),
    "retry": ("tasks.cli.batch.retry:retry", "Retry what failed of a batch"),
    "results": ("tasks.cli.batch.results:results", "Give back every row with images, costs and reasons"),
    "download": ("tasks.cli.batch.download:download", "Download the results under your own names"),
}


@click.group(cls=LateGroup, table=COMMANDS)
def batch() -> None:
    """Check, submit, steer and export batches: a sheet in, images out."""
