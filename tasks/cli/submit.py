"""`darkroom submit`: everything is checked first, then written down in one transaction, then the workers are woken."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

import click

from tasks.cli.connection import open_services, ring
from tasks.cli.output import json_option, note, print_json
from tasks.cli.progress import follow
from tasks.cli.prompt_file import Entry, read_entries
from tasks.cli.record import of_generation
from tasks.cli.scope import BatchScope, FamilyScope
from worker.errors import RequestInvalid
from worker.generation import GenerationRequest, Operation, State, operation_of
from worker.ledger.creation import NewGeneration
from worker.providers import PROVIDERS
from worker.recipe import FollowUp, parse_follow_ups
from worker.services import Services

STDIN = "-"
_STDIN_NAME = "standard input"


@dataclass(frozen=True, slots=True)
class Defaults:
    """What the command line says for every wish that does not say otherwise."""

    provider: str
    options: Mapping[str, str]
    follow_up: str
    priority: int


def read_options(_: click.Context, __: click.Parameter, given: Sequence[str]) -> dict[str, str]:
    options: dict[str, str] = {}
    for item in given:
        name, equals, value = item.partition("=")
        if not equals or not name.strip():
            raise click.BadParameter(f"{item!r} is not of the form name=value, such as version=8.1")
        if name.strip() in options:
            raise click.BadParameter(f"{name.strip()} is given twice")
        options[name.strip()] = value.strip()
    return options


@click.command()
@click.argument("prompts", nargs=-1, metavar="[PROMPT]...")
@click.option(
    "--file",
    "source",
    type=click.File("rb"),
    metavar="FILE",
    help="One prompt per line, or one JSON object per line: prompt, key, options, follow_up, priority.",
)
@click.option("--provider", default=next(iter(PROVIDERS)), show_default=True, help="Who shall make them.")
@click.option(
    "--option",
    "options",
    multiple=True,
    callback=read_options,
    metavar="NAME=VALUE",
    help="An option of the provider, such as version=8.1. Repeatable.",
)
@click.option(
    "--follow-up",
    default="",
    metavar="ACTIONS",
    help="What shall follow each success: upscale1,upscale3 or upscale:all or variation2/upscale:all.",
)
@click.option("--priority", type=click.IntRange(-(2**31), 2**31 - 1), default=0, metavar="N", help="Higher goes first.")
@click.option("--key", metavar="KEY", help="Your own name for it: the same key again changes and costs nothing.")
@click.option("--batch", metavar="NAME", help="The name of the batch; else the file's name or the time.")
@click.option("--parent", metavar="GENERATION", help="An archived generation to work on further, with --action.")
@click.option("--action", metavar="ACTION", help="What to do with the parent: one of the actions that it offers.")
@click.option("--watch", "then_watch", is_flag=True, help="Follow them until all are done.")
@json_option
@click.pass_context
def submit(
    ctx: click.Context, *, prompts: tuple[str, ...], source: BinaryIO | None, provider: str, options: dict[str, str],
    follow_up: str, priority: int, key: str | None, batch: str | None, parent: str | None, action: str | None,
    then_watch: bool, as_json: bool,
) -> None:  # fmt: skip
    """Ask for pictures: one prompt, many, or a file of them.

    Prints their ids. Many prompts, or a file, make one batch. A PROMPT of - reads a file from standard input. Nothing
    is written before everything was checked, and nothing is lost once the ids are printed.
    """
    _refuse_contradictions(prompts, source=source, key=key, batch=batch, parent=parent, action=action)
    defaults = Defaults(provider, options, follow_up, priority)
    with open_services() as here:
        if parent is not None and action is not None:
            wanted, batch_name = [_on_parent(here, parent, action, key, defaults)], None
        else:
            entries = _entries(prompts, source, key)
            wanted = _checked(here, entries, defaults)
            batch_name = batch or _batch_name(here.clock(), source, prompts)
        made = here.ledger.creation.create(wanted, batch_name)
        ring("dispatch")
        for generation in made:
            if as_json:
                print_json(of_generation(generation))
            else:
                click.echo(generation.id)
        batch_id = next((generation.batch_id for generation in made if generation.batch_id), None)
        if batch_id:
            note(f"{len(made)} in {batch_id}; follow them with `darkroom watch {batch_id}`")
        if then_watch:
            whole_batch = batch_id is not None and all(generation.batch_id == batch_id for generation in made)
            ids = [generation.id for generation in made]
            scope = BatchScope(here.ledger, str(batch_id)) if whole_batch else FamilyScope(here.ledger, ids)
            ctx.exit(0 if follow(here.ledger, scope, as_json=as_json) else 1)


def _refuse_contradictions(
    prompts: Sequence[str], *, source: BinaryIO | None, key: str | None, batch: str | None, parent: str | None,
    action: str | None,
) -> None:  # fmt: skip
    if (parent is None) != (action is None):
        raise click.UsageError("--parent and --action belong together")
    if parent is not None and (prompts or source or batch):
        raise click.UsageError("a follow-up has its parent's prompt and batch: give no PROMPT, --file or --batch")
    if parent is None and not prompts and source is None:
        raise click.UsageError("give a PROMPT, --file or --parent")
    if source is not None and prompts:
        raise click.UsageError("give either PROMPTs or --file")
    if STDIN in prompts and len(prompts) > 1:
        raise click.UsageError(f"{STDIN} reads standard input and stands alone")
    if key is not None and (source is not None or len(prompts) > 1 or STDIN in prompts):
        raise click.UsageError("--key names one generation; in a file, give each line a key of its own")
    if key is not None and not key.strip():
        raise click.UsageError("--key is empty")


def _entries(prompts: Sequence[str], source: BinaryIO | None, key: str | None) -> list[Entry]:
    if tuple(prompts) == (STDIN,):
        source = sys.stdin.buffer
    if source is None:
        many = len(prompts) > 1
        return [
            Entry(f"prompt {number}" if many else "", prompt.strip(), key)
            for number, prompt in enumerate(prompts, start=1)
        ]
    entries = read_entries(_name(source), source.read())
    seen: dict[str, Entry] = {}
    for entry in entries:
        if entry.key is not None and entry.key in seen:
            raise RequestInvalid(f"{entry.where}: the key {entry.key!r} stands already in {seen[entry.key].where}")
        if entry.key is not None:
            seen[entry.key] = entry
    return entries


def _checked(here: Services, entries: Sequence[Entry], defaults: Defaults) -> list[NewGeneration]:
    """All of them, ready to be written; raises RequestInvalid with the place of the first that is wrong."""
    provider = here.provider(defaults.provider)
    # What the command line says wrong is no mistake of the first line.
    provider.check(GenerationRequest(Operation.IMAGINE, "any", defaults.options))
    _follow_ups(here, defaults.follow_up)
    wanted = []
    for entry in entries:
        request = GenerationRequest(Operation.IMAGINE, entry.prompt, {**defaults.options, **entry.options})
        try:
            provider.check(request)
            follow_up = _follow_ups(here, defaults.follow_up if entry.follow_up is None else entry.follow_up)
        except RequestInvalid as error:
            raise RequestInvalid(f"{entry.where}: {error}" if entry.where else str(error)) from error
        wanted.append(
            NewGeneration(
                defaults.provider,
                request,
                key=entry.key,
                dedupe=_dedupe(entry.key),
                priority=defaults.priority if entry.priority is None else entry.priority,
                follow_up=follow_up,
            )
        )
    return wanted


def _on_parent(here: Services, parent_id: str, action: str, key: str | None, defaults: Defaults) -> NewGeneration:
    (parent,) = here.ledger.queries.get([parent_id])
    if parent.state is not State.ARCHIVED:
        raise RequestInvalid(f"{parent.id} is {parent.state}: a follow-up needs a parent that is archived")
    if action not in parent.actions:
        offered = f"only {', '.join(parent.actions)}" if parent.actions else "and no other action"
        raise RequestInvalid(f"{parent.id} does not offer {action!r}, {offered}")
    if operation_of(action) is None:
        raise RequestInvalid(f"{parent.id} offers {action!r}, but Darkroom does not know what that is")
    # With it comes Celery, which reads the settings when it is imported, so not before they are complete.
    from tasks.follow_up import child_of  # noqa: PLC0415

    new = child_of(parent, FollowUp(action, _follow_ups(here, defaults.follow_up)), dedupe=_dedupe(key))
    new = replace(
        new, key=key, priority=defaults.priority, request=replace(new.request, options=dict(defaults.options))
    )
    here.provider(new.provider).check(new.request)
    return new


def _follow_ups(here: Services, text: str) -> tuple[str, ...]:
    settings = here.settings
    return parse_follow_ups(
        text, max_depth=settings.darkroom_max_depth, max_follow_ups=settings.darkroom_max_follow_ups
    )


def _dedupe(key: str | None) -> str | None:
    return None if key is None else f"key:{key}"


def _batch_name(now: datetime, source: BinaryIO | None, prompts: Sequence[str]) -> str | None:
    """The file's name, else the time; one single prompt needs no batch."""
    if source is not None and _name(source) != _STDIN_NAME:
        return Path(source.name).stem
    if source is None and len(prompts) == 1 and prompts[0] != STDIN:
        return None
    return f"{now:%Y-%m-%d-%H%M%S}"


def _name(source: BinaryIO) -> str:
    return _STDIN_NAME if source is sys.stdin.buffer else source.name
