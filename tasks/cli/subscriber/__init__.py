"""The `darkroom subscriber` commands: one file per command, imported when it is called."""

import click

from tasks.cli.ui.late_group import Commands, LateGroup

COMMANDS: Commands = {
    "add": ("tasks.cli.subscriber.add:add", "Add a webhook, a Celery task or a Redis stream"),
    "list": ("tasks.cli.subscriber.list:list_subscribers", "List subscribers and their health"),
    "show": ("tasks.cli.subscriber.show:show", "Show a subscriber and its last deliveries"),
    "test": ("tasks.cli.subscriber.test:test", "Send an example to a subscriber and show its reply"),
    "enable": ("tasks.cli.subscriber.enable:enable", "Deliver to a disabled subscriber again"),
    "rotate": ("tasks.cli.subscriber.rotate:rotate", "Create a new secret; the previous one stays valid"),
    "remove": ("tasks.cli.subscriber.remove:remove", "Remove a subscriber"),
}


@click.group(cls=LateGroup, table=COMMANDS)
def subscriber() -> None:
    """Add, list, test and remove event subscribers.

    Subscribers declared in DARKROOM_NOTIFY_URLS and DARKROOM_NOTIFY_TASKS are listed, too. See deploy/EVENTS.md.
    """
