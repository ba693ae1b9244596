"""`darkroom dead`: all that was given up, in one place, and once more after a fix, or taken off the list."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import click

from tasks.cli.connection import open_ledger, ring
from tasks.cli.output import json_option, note, one_line, print_json, secrets_hidden
from tasks.cli.who import who
from worker.errors import NotFound, RequestInvalid
from worker.generation import State, iso
from worker.ledger import Ledger
from worker.ledger.unclear import Person

#: more than anybody looks through
ALL = 100_000


@dataclass(frozen=True, slots=True)
class Letter:
    """Something that was given up. `facts`: what its kind has besides, for programs."""

    id: str
    at: datetime
    what: str
    error: str | None
    facts: dict[str, Any]


def _callbacks(ledger: Ledger) -> Iterator[Letter]:
    for one in ledger.queries.dead_callbacks(ALL):
        facts = {
            "attempt": one.attempt_id,
            "generation": one.generation_id,
            "verdict": one.verdict,
            "bytes": one.bytes,
        }
        yield Letter(f"callback:{one.id}", one.received_at, str(one.verdict), one.error, facts)


def _assets(ledger: Ledger) -> Iterator[Letter]:
    for asset, at in ledger.dead_letters.assets(ALL):
        facts = {"generation": asset.generation_id, "index": asset.index, "type": asset.kind}
        yield Letter(f"asset:{asset.generation_id}/{asset.index}", at, asset.kind, asset.error, facts)


def _events(ledger: Ledger) -> Iterator[Letter]:
    for one in ledger.dead_letters.events(ALL):
        facts = {"type": one.type, "generation": one.generation_id, "subscriber": one.subscriber, "tries": one.tries}
        yield Letter(f"event:{one.event_id}/{one.subscriber}", one.at, one.type, one.error, facts)


def _follow_ups(ledger: Ledger) -> Iterator[Letter]:
    for one in ledger.following.refused(ALL):
        what = ", ".join(one.follow_up)
        yield Letter(f"follow-up:{one.generation_id}", one.at, what, one.error, {"generation": one.generation_id})


KINDS: dict[str, Callable[[Ledger], Iterator[Letter]]] = {
    "callbacks": _callbacks,
    "assets": _assets,
    "events": _events,
    "follow-ups": _follow_ups,
}
#: kinds that can be taken off the list; an asset stands for its generation, which stays expired
DISMISSED = ("callbacks", "events", "follow-ups")
kind_option = click.option("--kind", type=click.Choice(list(KINDS)), help="Only these.")


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
        letters = _letters(here.ledger, kind)
    wide_id = max((len(letter.id) for _, letter in letters), default=0)
    wide_what = max((len(letter.what) for _, letter in letters), default=0)
    for name, letter in letters:
        error = secrets_hidden(letter.error)
        if as_json:
            print_json({"id": letter.id, "kind": name, "at": iso(letter.at), **letter.facts, "error": error})
        else:
            at = f"{letter.at.astimezone():%Y-%m-%d %H:%M:%S}"
            what = one_line(letter.what).ljust(wide_what)
            # Nothing else in the line of a callback tells what it was about.
            whose = letter.facts["generation"] if name == "callbacks" else None
            error = f"{error or ''}{f'; it came for {whose}' if whose else ''}"
            click.echo(f"{letter.id.ljust(wide_id)}  {at}  {what}  {one_line(error)}".rstrip())
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
    _check(letter_ids, everything=everything, kind=kind)
    with open_ledger() as here:
        chosen = list(dict.fromkeys(letter_ids or (letter.id for _, letter in _letters(here.ledger, kind))))
        bells, done = _replay_all(here.ledger, chosen, as_json=as_json)
        if bells:
            ring(*bells)
    if not chosen:
        note("nothing was given up")
    ctx.exit(0 if done == len(chosen) else 1)


@dead.command()
@click.argument("letter_ids", nargs=-1, metavar="[ID]...")
@click.option("--all", "everything", is_flag=True, help="All of the list but assets, or those of --kind.")
@click.option("--kind", type=click.Choice(DISMISSED), help="Only these.")
@click.option("--why", default="", metavar="TEXT", help="Kept with your name.")
@json_option
def dismiss(letter_ids: tuple[str, ...], *, everything: bool, kind: str | None, why: str, as_json: bool) -> None:
    """Take callbacks, events and follow-ups off the list that nobody can ever apply.

    All of them or none: a wrong ID changes nothing. `darkroom show` still tells of them, with your name, and `darkroom
    dead replay ID` takes it back, for the DARKROOM_KEEP_DAYS for which all is kept that is done with. Assets stay, as
    long as their generation is expired.
    """
    _check(letter_ids, everything=everything, kind=kind)
    person = Person(who(), " ".join(why.split()))
    with open_ledger() as here:
        letters = (letter.id for one in DISMISSED if kind in {None, one} for letter in KINDS[one](here.ledger))
        chosen = list(dict.fromkeys(letter_ids or letters))
        callbacks = [int(match["number"]) for one in chosen if (match := _CALLBACK.fullmatch(one))]
        events = [(int(match["number"]), match["subscriber"]) for one in chosen if (match := _EVENT.fullmatch(one))]
        if asset := next((one for one in chosen if _ASSET.fullmatch(one)), None):
            raise RequestInvalid(
                f"{asset} cannot be dismissed: its generation stays expired, and `darkroom dead replay` or `darkroom "
                "retry` asks for it again; nothing was changed"
            )
        follow_ups = [match["generation"] for one in chosen if (match := _FOLLOW_UP.fullmatch(one))]
        here.ledger.dead_letters.dismiss(callbacks, events, person, follow_ups)
    for letter_id in chosen:
        if as_json:
            facts = {"done": True, "by": person.name, "why": person.why}
            print_json({"id": letter_id, **facts, "message": "dismissed"})
        else:
            click.echo(f"{letter_id} dismissed")
    if not chosen:
        note("there is nothing to dismiss")


def _check(letter_ids: Sequence[str], *, everything: bool, kind: str | None) -> None:
    if bool(letter_ids) == everything or (kind and not everything):
        raise click.UsageError("give either IDs, or --all, which may have a --kind")
    wrong = next((one for one in letter_ids if not any(pattern.fullmatch(one) for pattern, _, _ in _REPLAYS)), None)
    if wrong is not None:
        raise click.UsageError(f"{wrong!r} is no ID that `darkroom dead` lists, such as callback:12, asset:gen_1/0, "
                               "event:57/subscriber or follow-up:gen_1")  # fmt: skip


def _letters(ledger: Ledger, kind: str | None) -> list[tuple[str, Letter]]:
    return [(name, letter) for name, find in KINDS.items() if kind in {None, name} for letter in find(ledger)]


def _replay_all(ledger: Ledger, letter_ids: Sequence[str], *, as_json: bool) -> tuple[list[str], int]:
    """Which steps of the flow have something to do now, and how many could be applied."""
    bells: dict[str, None] = {}
    done = 0
    for letter_id in letter_ids:
        replays = ((pattern.fullmatch(letter_id), bell, again) for pattern, bell, again in _REPLAYS)
        match, bell, again = next(found for found in replays if found[0])
        assert match  # noqa: S101 - what fits none of them was refused before
        is_done, message = again(ledger, match)
        if is_done:
            done += 1
            bells[bell] = None
        if as_json:
            print_json({"id": letter_id, "done": is_done, "message": message})
        else:
            click.echo(f"{letter_id} {message}")
    return list(bells), done


def _callback_again(ledger: Ledger, match: re.Match[str]) -> tuple[bool, str]:
    if ledger.inbox.replay([int(match["number"])]) == 1:
        return True, "will be applied again"
    return False, "does not exist (it may have been pruned), or waits to be applied already"


def _asset_again(ledger: Ledger, match: re.Match[str]) -> tuple[bool, str]:
    try:
        (generation,) = ledger.queries.get([match["generation"]])
    except NotFound:
        return False, "belongs to no generation that the ledger knows"
    assets = ledger.queries.assets_of([generation.id])[generation.id]
    asset = next((one for one in assets if one.index == int(match["index"])), None)
    if asset is None:
        return False, "does not exist"
    # Never another state: what FAILED would be submitted again, and paid for.
    if generation.state is State.EXPIRED and asset.state == "expired":
        ledger.deciding.retry([generation.id])
        return True, "will be asked for and archived again"
    if asset.state == "waiting":
        # Perhaps for the sake of another asset of this generation: they are asked for together.
        ledger.deciding.retry([generation.id])
        return True, "is being archived again already"
    return False, f"was not given up: it is {asset.state}, its generation {generation.state}"


def _event_again(ledger: Ledger, match: re.Match[str]) -> tuple[bool, str]:
    if ledger.dead_letters.replay_event(int(match["number"]), match["subscriber"]):
        return True, "will be delivered again"
    return False, "was not given up, or does not exist (it may have been pruned)"


def _follow_up_again(ledger: Ledger, match: re.Match[str]) -> tuple[bool, str]:
    if ledger.following.retry(match["generation"]):
        return True, "will be created again"
    return False, "was not given up, or does not exist"


_CALLBACK = re.compile(r"callback:(?P<number>\d{1,18})")
_ASSET = re.compile(r"asset:(?P<generation>\w+)/(?P<index>\d{1,4})")
_EVENT = re.compile(r"event:(?P<number>\d{1,18})/(?P<subscriber>\S+)")
_FOLLOW_UP = re.compile(r"follow-up:(?P<generation>\w+)")
#: the form of an ID, which step of the flow goes on with it, and what to do
_REPLAYS: list[tuple[re.Pattern[str], str, Callable[[Ledger, re.Match[str]], tuple[bool, str]]]] = [
    (_CALLBACK, "ingest", _callback_again),
    (_ASSET, "archive", _asset_again),
    (_EVENT, "notify", _event_again),
    (_FOLLOW_UP, "follow_up", _follow_up_again),
]
