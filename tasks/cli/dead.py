"""`darkroom dead`: everything that Darkroom has stopped trying, to replay after a fix, or to dismiss."""

from collections import Counter

import click

from tasks.cli.ui.context import open_ledger
from tasks.cli.ui.operator import who
from tasks.cli.ui.output import json_option, note, one_line, print_json
from tasks.cli.ui.selecting import FEW, verbose_option
from tasks.cli.ui.totals import totals
from tasks.cli.ui.wakeup import ring
from tasks.usecases import dead_letters, views
from tasks.usecases.dead_letters import DISMISSED, DismissRequest, Letter, LetterKind, LetterSelection, Replayed
from tasks.usecases.names import short_id
from tasks.usecases.person import person
from worker.errors import RequestInvalid
from worker.secrets import secrets_hidden

kind_option = click.option("--kind", type=click.Choice([kind.value for kind in LetterKind]), help="Only this kind.")


@click.group(invoke_without_command=True)
@kind_option
@json_option
@click.pass_context
def dead(ctx: click.Context, kind: str | None, as_json: bool) -> None:
    """List abandoned work and the reasons.

    Lists unreadable callbacks, assets whose link expired or whose download failed for weeks, events that a subscriber
    did not accept, and follow-ups that could not be created. `darkroom dead replay` tries them again, `darkroom dead
    dismiss` removes them from the list. For work that is still being retried, see `darkroom at-risk`.
    """
    if ctx.invoked_subcommand is not None:
        if kind or as_json:
            raise click.UsageError(f"put --kind and --json after `{ctx.invoked_subcommand}`")
        return
    with open_ledger() as here:
        letters = dead_letters.list_dead(here, LetterKind(kind) if kind else None)
    if as_json:
        for letter in letters:
            print_json(views.of_letter(letter))
    else:
        _print_lines(letters)
    if not letters:
        note("Nothing was abandoned.")
    elif not as_json:
        note("After fixing the cause: darkroom dead replay ID (or --all). To discard: darkroom dead dismiss ID.")


@dead.command()
@click.argument("letter_ids", nargs=-1, metavar="[ID]...")
@click.option("--all", "everything", is_flag=True, help="Everything in the list, or all of --kind.")
@kind_option
@verbose_option
@json_option
@click.pass_context
def replay(
    ctx: click.Context, *, letter_ids: tuple[str, ...], everything: bool, kind: str | None, verbose: bool, as_json: bool
) -> None:
    """Try abandoned work again, after fixing the cause.

    Callbacks are parsed again, assets downloaded and archived, and events delivered; this is free and safe to repeat.
    Follow-ups are created once, and cost as much as any other generation. The exit code is 1 if any of the IDs could
    not be replayed.
    """
    selection = _selection(letter_ids, everything=everything, kind=kind)
    few = 0 < len(letter_ids) <= FEW
    left: Counter[str] = Counter()

    def tell(one: Replayed) -> None:
        if as_json:
            print_json(views.of_replayed(one))
        elif few or verbose:
            click.echo(f"{one.letter_id} {one.message}")
        if not one.is_done:
            left[one.message] += 1

    with open_ledger() as here:
        replays = dead_letters.replay(here, selection, tell)
        if replays.wakes:
            ring(*replays.wakes)
    if not replays.letter_ids:
        note("Nothing was abandoned.")
    elif not as_json and not few:
        click.echo(totals({"replayed": replays.done}, left))
    ctx.exit(0 if replays.done == len(replays.letter_ids) else 1)


@dead.command()
@click.argument("letter_ids", nargs=-1, metavar="[ID]...")
@click.option("--all", "everything", is_flag=True, help="Everything in the list except assets, or all of --kind.")
@click.option("--kind", type=click.Choice([kind.value for kind in DISMISSED]), help="Only this kind.")
@click.option("--why", default="", metavar="TEXT", help="Recorded with your name.")
@verbose_option
@json_option
def dismiss(
    letter_ids: tuple[str, ...], *, everything: bool, kind: str | None, why: str, verbose: bool, as_json: bool
) -> None:
    """Remove callbacks, events and follow-ups from the list.

    All or nothing: if any ID is unknown, nothing changes. `darkroom show` still lists them, with your name, and
    `darkroom dead replay ID` undoes it within DARKROOM_KEEP_DAYS. An asset stays in the list while its generation is
    expired; `darkroom delete` removes both.
    """
    few = 0 < len(letter_ids) <= FEW
    request = DismissRequest(_selection(letter_ids, everything=everything, kind=kind), person(who(), why))
    with open_ledger() as here:
        dismissed = dead_letters.dismiss(here, request)
    for letter_id in dismissed:
        if as_json:
            print_json(views.of_dismissed(letter_id, request.person))
        elif few or verbose:
            click.echo(f"{letter_id} dismissed")
    if not dismissed:
        note("There is nothing to dismiss.")
    elif not as_json and not few:
        click.echo(f"{len(dismissed):,} dismissed")


def _selection(letter_ids: tuple[str, ...], *, everything: bool, kind: str | None) -> LetterSelection:
    try:
        return LetterSelection(letter_ids, everything, LetterKind(kind) if kind else None)
    except RequestInvalid as error:
        raise click.UsageError(str(error)) from error


def _print_lines(letters: tuple[Letter, ...]) -> None:
    for letter in letters:
        # The ids of assets and follow-ups contain the generation's id; those of callbacks and events do not.
        whose = letter.facts["generation"] if letter.kind in {LetterKind.CALLBACKS, LetterKind.EVENTS} else None
        of = f"  of {short_id(str(whose))}" if whose else ""
        click.echo(one_line(f"{letter.id}  {letter.what}  {letter.at.astimezone():%Y-%m-%d %H:%M}{of}"))
        if letter.error:
            click.echo(f"  {one_line(secrets_hidden(letter.error))}")
