"""The `darkroom subscriber` commands: one file per command, imported when it is called."""

import click

from tasks.cli.ui.late_group import Commands, LateGroup

COMMANDS: Commands = {
    "add": ("tasks.cli.subscriber.add:add", "Add a webhook, a Celery task or a Redis stream"),
    "list": ("tasks.cli.subscriber.list:list_subscribers", "List subscribers, and how they are"),
    "show": ("tasks.cli.subscriber.show:show", "Show a subscriber and its last deliveries"),
    "test": ("tasks.cli.subscriber.test:test", "Send an example to a subscriber and show its reply"),
    "enable": ("tasks.cli.subscriber.enable:enable", "Deliver to a disabled subscriber again"),
    "rotate": ("tasks.cli.subscriber.rotate:rotate", "Make a new secret, beside the one before"),
    "remove": ("tasks.cli.subscriber.remove:remove", "Remove a subscriber"),
}


@click.group(cls=LateGroup, table=COMMANDS)
def subscriber() -> None:
    """Add, list, try out and remove subscribers to events.

    Those that DARKROOM_NOTIFY_URLS and DARKROOM_NOTIFY_TASKS declare are listed as well; deploy/EVENTS.md says more.
    """
