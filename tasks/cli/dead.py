"""`darkroom dead`: all that was given up, in one place, and once more after a fix, or taken off the list."""

import click

from tasks.cli.ui.context import open_ledger
from tasks.cli.ui.operator import who
from tasks.cli.ui.output import json_option, note, one_line, print_json
from tasks.cli.ui.wakeup import ring
from tasks.usecases import dead_letters, views
from tasks.usecases.dead_letters import DISMISSED, DismissRequest, Letter, LetterKind, LetterSelection, Replayed
from tasks.usecases.person import person
from worker.errors import RequestInvalid
from worker.secrets import secrets_hidden

kind_option = click.option("--kind", type=click.Choice([kind.value for kind in LetterKind]), help="Only these.")


@click.group(invoke_without_command=True)
@kind_option
@json_option
@click.pass_context
def dead(ctx: click.Context, kind: str | None, as_json: bool) -> None:
    """List what was given up, and why.

    Callbacks that nobody understood, assets whose link died or that nobody could get for weeks, events that a
    subscriber did not take, follow-ups that could not be created. `darkroom dead replay` applies them again, `darkroom
    dead dismiss` takes them off the list. What is still tried, although in vain so far, is in `darkroom at-risk`.
    """
    if ctx.invoked_subcommand is not None:
        if kind or as_json:
            raise click.UsageError(f"write --kind and --json after `{ctx.invoked_subcommand}`")
        return
    with open_ledger() as here:
        letters = dead_letters.list_dead(here, LetterKind(kind) if kind else None)
    if as_json:
        for letter in letters:
            print_json(views.of_letter(letter))
    else:
        _print_lines(letters)
    if not letters:
        note("nothing was given up")
    elif not as_json:
        note("when the cause is mended: darkroom dead replay ID, or --all; what nobody can mend: darkroom dead dismiss")


@dead.command()
@click.argument("letter_ids", nargs=-1, metavar="[ID]...")
@click.option("--all", "everything", is_flag=True, help="All that `darkroom dead` lists, or those of --kind.")
@kind_option
@json_option
@click.pass_context
def replay(
    ctx: click.Context, *, letter_ids: tuple[str, ...], everything: bool, kind: str | None, as_json: bool
) -> None:
    """Apply them again, after what stood in the way is mended.

    Callbacks are read again, assets asked for and archived, events delivered: that costs nothing, and repeating it does
    no harm. Follow-ups are created, once, and paid for like any other. The exit code is 1 if one of the IDs could not
    be applied.
    """
    selection = _selection(letter_ids, everything=everything, kind=kind)

    def tell(one: Replayed) -> None:
        if as_json:
            print_json(views.of_replayed(one))
        else:
            click.echo(f"{one.letter_id} {one.message}")

    with open_ledger() as here:
        replays = dead_letters.replay(here, selection, tell)
        if replays.wakes:
            ring(*replays.wakes)
    if not replays.letter_ids:
        note("nothing was given up")
    ctx.exit(0 if replays.done == len(replays.letter_ids) else 1)


@dead.command()
@click.argument("letter_ids", nargs=-1, metavar="[ID]...")
@click.option("--all", "everything", is_flag=True, help="All of the list but assets, or those of --kind.")
@click.option("--kind", type=click.Choice([kind.value for kind in DISMISSED]), help="Only these.")
@click.option("--why", default="", metavar="TEXT", help="Kept with your name.")
@json_option
def dismiss(letter_ids: tuple[str, ...], *, everything: bool, kind: str | None, why: str, as_json: bool) -> None:
    """Take callbacks, events and follow-ups off the list that nobody can ever apply.

    All of them or none: a wrong ID changes nothing. `darkroom show` still tells of them, with your name, and `darkroom
    dead replay ID` takes it back, for the DARKROOM_KEEP_DAYS for which all is kept that is done with. Assets stay, as
    long as their generation is expired.
    """
    request = DismissRequest(_selection(letter_ids, everything=everything, kind=kind), person(who(), why))
    with open_ledger() as here:
        dismissed = dead_letters.dismiss(here, request)
    for letter_id in dismissed:
        if as_json:
            print_json(views.of_dismissed(letter_id, request.person))
        else:
            click.echo(f"{letter_id} dismissed")
    if not dismissed:
        note("there is nothing to dismiss")


def _selection(letter_ids: tuple[str, ...], *, everything: bool, kind: str | None) -> LetterSelection:
    try:
        return LetterSelection(letter_ids, everything, LetterKind(kind) if kind else None)
    except RequestInvalid as error:
        raise click.UsageError(str(error)) from error


def _print_lines(letters: tuple[Letter, ...]) -> None:
    wide_id = max((len(letter.id) for letter in letters), default=0)
    wide_what = max((len(letter.what) for letter in letters), default=0)
    for letter in letters:
        at = f"{letter.at.astimezone():%Y-%m-%d %H:%M:%S}"
        what = one_line(letter.what).ljust(wide_what)
        # Nothing else in the line of a callback tells what it was about.
        whose = letter.facts["generation"] if letter.kind is LetterKind.CALLBACKS else None
        error = f"{secrets_hidden(letter.error) or ''}{f'; it came for {whose}' if whose else ''}"
        click.echo(f"{letter.id.ljust(wide_id)}  {at}  {what}  {one_line(error)}".rstrip())
