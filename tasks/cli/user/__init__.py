"""The `darkroom user` commands: one file per command, imported when it is called."""

import click

from tasks.cli.ui.late_group import Commands, LateGroup

COMMANDS: Commands = {
    "add": ("tasks.cli.user.add:add", "Add a user of the console"),
    "list": ("tasks.cli.user.list:list_users", "List users and when each last logged in"),
    "passwd": ("tasks.cli.user.passwd:passwd", "Set a user's password"),
    "role": ("tasks.cli.user.role:role", "Change a user's role"),
    "remove": ("tasks.cli.user.remove:remove", "Remove a user"),
}


@click.group(cls=LateGroup, table=COMMANDS)
def user() -> None:
    """Add, list, change and remove console users."""
