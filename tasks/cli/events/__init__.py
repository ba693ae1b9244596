"""The `darkroom events` commands: one file per command, imported when it is called."""

import click

from tasks.cli.ui.late_group import Commands, LateGroup

COMMANDS: Commands = {
    "list": ("tasks.cli.events.list:list_events", "List recorded events, newest first"),
    "listen": ("tasks.cli.events.listen:listen", "Print events as they happen, or post them to a local URL"),
    "resend": ("tasks.cli.events.resend:resend", "Deliver events to subscribers again"),
    "trigger": ("tasks.cli.events.trigger:trigger", "Send an example of an event"),
}


@click.group(cls=LateGroup, table=COMMANDS)
def events() -> None:
    """List, follow, resend and try events.

    deploy/EVENTS.md describes each event. All commands read the ledger, so none needs a public address.
    """
