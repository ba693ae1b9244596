"""The `darkroom user` commands: one file per command, imported when it is called."""

import click

from tasks.cli.ui.late_group import Commands, LateGroup

COMMANDS: Commands = {
    "add": ("tasks.cli.user.add:add", "Add somebody whom the console lets in"),
    "list": ("tasks.cli.user.list:list_users", "List users, and when each logged in last"),
    "passwd": ("tasks.cli.user.passwd:passwd", "Set a user's password"),
    "role": ("tasks.cli.user.role:role", "Change what a user may do"),
    "remove": ("tasks.cli.user.remove:remove", "Remove a user"),
}


@click.group(cls=LateGroup, table=COMMANDS)
def user() -> None:
    """Add, list, change and remove users of the console."""
