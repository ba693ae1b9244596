"""The `darkroom token` commands: one file per command, imported when it is called."""

import click

from tasks.cli.ui.late_group import Commands, LateGroup

COMMANDS: Commands = {
    "create": ("tasks.cli.token.create:create", "Create a token for a program that uses the API"),
    "list": ("tasks.cli.token.list:list_tokens", "List tokens and when each was last used"),
    "revoke": ("tasks.cli.token.revoke:revoke", "Revoke a token"),
}


@click.group(cls=LateGroup, table=COMMANDS)
def token() -> None:
    """Create, list and revoke API tokens."""
