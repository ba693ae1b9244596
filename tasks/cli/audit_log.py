"""`darkroom audit-log`: who requested what over the API and in the console."""

import click

from tasks.cli.ui.context import open_ledger
from tasks.cli.ui.output import json_option, note, one_line, print_json
from tasks.usecases import views
from tasks.usecases.action_log import Action, list_actions


@click.command()
@click.option(
    "--actor", metavar="NAME", help="Only what this token or user did; `local` is anyone working on this machine."
)
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, metavar="N", help="Show at most N.")
@json_option
def audit_log(*, actor: str | None, limit: int, as_json: bool) -> None:
    """Show who changed what over the API and in the console, newest first.

    Each write is recorded before it is carried out, with the name of its token or user; its status is added with the
    response. Logins are included. Failed logins have status 401, and are listed under the user's name, or as `nobody`
    if there is no such user.
    """
    with open_ledger() as here:
        found = list_actions(here, actor, limit + 1)
    for action in found[:limit]:
        if as_json:
            print_json(views.of_action(action))
        else:
            click.echo(_line(action))
    if len(found) > limit:
        note(f"{limit:,} shown; there are more: --limit N")
    if not found:
        note("No matching actions.")


def _line(action: Action) -> str:
    return one_line(
        f"{action.at.astimezone():%Y-%m-%d %H:%M:%S}  {action.actor}  {action.action}  "
        f"{action.status or 'not answered'}{f'  {action.subject}' if action.subject else ''}"
    )
