"""`darkroom submit`: check everything, save all or nothing, print the IDs, then wake the workers."""

import errno
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, BinaryIO

import click

from tasks.cli.ui.batch_options import folder_of
from tasks.cli.ui.context import open_services
from tasks.cli.ui.labels import label_option
from tasks.cli.ui.options import FirstOperation, read_options
from tasks.cli.ui.output import json_option, note, one_line, print_json
from tasks.cli.ui.progress import Ending, follow
from tasks.cli.ui.sandbox_option import test_option
from tasks.cli.ui.submitted import tell_submitted
from tasks.cli.ui.wakeup import ring
from tasks.usecases import views
from tasks.usecases.batch_file import EXPAND_LIMIT, expand_entry, open_batch_file, read_entries
from tasks.usecases.batches.request import BatchRequest
from tasks.usecases.batches.submit import submit_batch
from tasks.usecases.entry import PRIORITIES, Entry, Place
from tasks.usecases.entry_check import DEFAULT_PROVIDER, Defaults
from tasks.usecases.inputs import InputFiles
from tasks.usecases.queries import get_generations, list_lineages, list_waits
from tasks.usecases.scope import Scope, batch_scope, submitted, summarize
from tasks.usecases.submission import Repetition, digest_in
from tasks.usecases.submit import (
    FollowUpRequest,
    SubmitRequest,
    SubmitResult,
    check,
)
from tasks.usecases.submit import (
    submit as submit_checked,
)
from worker.errors import DarkroomError
from worker.generation import Generation, Operation
from worker.services import Services
from worker.steps import Step

STDIN = "-"
_STDIN_NAME = "standard input"
#: warnings that are printed one by one; generations of a file that are read at once
_TOLD, _PAGE = 10, 1000


def _read_submission(_: click.Context, __: click.Parameter, given: str | None) -> str | None:
    if given is not None and digest_in(given) is None:
        raise click.BadParameter(f"{given!r} is not a submission ID as printed in this command's errors")
    return given


@click.command()
@click.argument("prompts", nargs=-1, metavar="[PROMPT]...")
@click.option(
    "--file",
    "source",
    type=click.File("rb"),
    metavar="FILE",
    help="CSV, XLSX, JSON lines, a JSON array, or one prompt per line; `darkroom batch check --help` explains the "
    "columns.",
)
@click.option(
    "--provider",
    default=DEFAULT_PROVIDER,
    show_default=True,
    metavar="NAME[,…]",
    help="Provider to use, or several in order of preference, like kie,acedata: the next is used while one is out of "
    "service.",
)
@click.option(
    "--operation",
    type=FirstOperation(),
    help="What to make.  [default: imagine]",
)
@click.option(
    "--option",
    "options",
    multiple=True,
    callback=read_options,
    metavar="NAME=VALUE",
    help="An option such as version=8.1 or images=photo.png (a link or a file). Repeatable; see `darkroom providers`.",
)
@click.option(
    "--follow-up",
    default="",
    metavar="ACTIONS",
    help="Follow-up actions for each success: upscale1,upscale3 or upscale:all or variation2/upscale:all.",
)
@click.option("--recipe", metavar="NAME", help="Recipe to follow: NAME.yaml in the folder DARKROOM_RECIPES.")
@click.option(
    "--priority", type=click.IntRange(PRIORITIES[0], PRIORITIES[-1]), default=0, metavar="N", help="Higher goes first."
)
@click.option(
    "--key", metavar="KEY", help="Your own name for it; submitting the same key again changes nothing and is free."
)
@label_option
@click.option(
    "--batch",
    metavar="NAME",
    help="Name of the batch, by which a file's batch is found.  [default: the file's name, or the time]",
)
@click.option("--parent", metavar="GENERATION", help="An archived generation to continue from, with --action.")
@click.option("--action", metavar="ACTION", help="What to do with the parent: one of the actions it offers.")
@click.option("--new", "anew", is_flag=True, help="Start a second submission instead of completing an interrupted one.")
@click.option(
    "--submission",
    "submission_id",
    callback=_read_submission,
    metavar="ID",
    help="Complete this submission, whose ID an error printed; repeat the rest of the command unchanged.",
)
@click.option("--notify", metavar="URL", help="Address for the events of this submission, signed (deploy/EVENTS.md).")
@test_option
@click.option("--watch", "then_watch", is_flag=True, help="Follow them until all are done.")
@json_option
@click.pass_context
def submit(
    ctx: click.Context, *, prompts: tuple[str, ...], source: BinaryIO | None, provider: str, operation: str | None,
    options: dict[str, Any], follow_up: str, recipe: str | None, priority: int, key: str | None,
    labels: dict[str, str], batch: str | None, parent: str | None, action: str | None, anew: bool,
    submission_id: str | None, notify: str | None, is_test: bool, then_watch: bool, as_json: bool,
) -> None:  # fmt: skip
    r"""Submit generations: one prompt, several, or a file.

    --operation also makes videos and texts; some operations need no PROMPT. Several prompts, or a file, make one batch.
    A PROMPT of - reads a file from standard input. {red, blue} in a prompt makes one generation for each; write \{ for
    a brace.

    Everything is checked before anything is saved. Once the IDs are printed, nothing can be lost. If the command is
    interrupted before that, repeat it within 24 hours: it completes the submission and creates no duplicates.
    Submitting the same file again, at any time, adds only what is new to its batch (see `darkroom batch submit`).
    """
    _refuse_contradictions(
        prompts, source=source, operation=operation, key=key, batch=batch, parent=parent, action=action
    )
    if anew and submission_id is not None:
        raise click.UsageError("give either --new or --submission")
    with open_services() as here:
        request: SubmitRequest | FollowUpRequest
        if parent is not None and action is not None:
            prompt = expand_entry(Entry(place=Place(""), prompt=prompts[0].strip()), 1)[0].prompt if prompts else None
            request = FollowUpRequest(
                parent_id=parent, action=action, prompt=prompt, key=key, options=options, follow_up=follow_up,
                priority=priority, labels=labels, is_test=is_test, notify=notify,
            )  # fmt: skip
        else:
            defaults = Defaults(
                provider=provider, operation=Operation(operation or Operation.IMAGINE), options=options,
                follow_up=follow_up, recipe=recipe, priority=priority, labels=labels,
            )  # fmt: skip
            if source is not None and source is not sys.stdin.buffer:
                if anew or submission_id is not None:
                    raise click.UsageError(
                        "a file needs neither --new nor --submission: the same file completes its batch, and another "
                        "--batch NAME submits it again"
                    )
                batch_id = _submit_file(here, source, batch, defaults, notify=notify, is_test=is_test, as_json=as_json)
                if then_watch and batch_id is not None:
                    ctx.exit(_follow(here, batch_scope(here, batch_id), as_json=as_json))
                return
            entries = _entries(prompts, source, key, needs_prompts=defaults.operation is Operation.IMAGINE)
            many = _are_many(source, prompts) or len(entries) > 1
            request = SubmitRequest(
                entries=entries, defaults=defaults, batch=batch, is_batch=many, is_test=is_test, notify=notify
            )
        checked = check(here, request)
        _tell_warnings(checked.warnings)
        result = submit_checked(
            here, checked, Repetition(submission_id, anew), tell=note,
            deliver=lambda result: _print(here, result.generations, result.warnings, as_json=as_json),
        )  # fmt: skip
        _tell_batch(result, batch)
        for sentence in result.waits:
            note(sentence)
        ring(Step.DISPATCH)
        if then_watch:
            scope = submitted(here, result.generations, result.batch_id)
            ctx.exit(_follow(here, scope, as_json=as_json))


def _submit_file(
    here: Services, source: BinaryIO, name: str | None, defaults: Defaults, *, notify: str | None, is_test: bool,
    as_json: bool,
) -> str | None:  # fmt: skip
    """Submit a file and return the id of its batch."""
    with open_batch_file(source.name, source) as file:
        defaults = replace(defaults, files=InputFiles(here, folder_of(file)))
        if defaults.operation is Operation.IMAGINE:
            file.require_prompts()
        checked = check(here, SubmitRequest(entries=read_entries(file), defaults=defaults, is_test=is_test))
        _tell_warnings(checked.warnings)
        rows = len({one.row_number for one in checked.wanted})
        request = BatchRequest(file=file, name=name, defaults=defaults, is_test=is_test, notify=notify)
        result = submit_batch(here, request, checked.wanted, rows=rows, tell=note)
    for start in range(0, len(result.ids), _PAGE):
        ids = result.ids[start : start + _PAGE]
        _print(here, get_generations(here, ids), checked.warnings[start : start + _PAGE], as_json=as_json)
    tell_submitted(result)
    if result.created:
        ring(Step.DISPATCH)
    return result.batch_id


def _refuse_contradictions(
    prompts: Sequence[str], *, source: BinaryIO | None, operation: str | None, key: str | None, batch: str | None,
    parent: str | None, action: str | None,
) -> None:  # fmt: skip
    if (parent is None) != (action is None):
        raise click.UsageError("give --parent and --action together")
    if parent is not None and (len(prompts) > 1 or STDIN in prompts or source or batch or operation):
        raise click.UsageError(
            "a follow-up has its parent's batch, and its action says what it does: give at most one PROMPT, and no "
            "--file, --batch or --operation"
        )
    if parent is None and not prompts and source is None and operation in {None, Operation.IMAGINE}:
        raise click.UsageError("give a PROMPT, --file or --parent")
    if source is not None and prompts:
        raise click.UsageError("give either PROMPTs or --file")
    if STDIN in prompts and len(prompts) > 1:
        raise click.UsageError(f"{STDIN} reads standard input and cannot be combined with other PROMPTs")
    if key is not None and (source is not None or len(prompts) > 1 or STDIN in prompts):
        raise click.UsageError("--key names one generation; in a file, give each line its own key")
    if key is not None and not key.strip():
        raise click.UsageError("--key is empty")


def _entries(prompts: Sequence[str], source: BinaryIO | None, key: str | None, *, needs_prompts: bool) -> list[Entry]:
    if tuple(prompts) == (STDIN,):
        source = sys.stdin.buffer
    if source is not None:
        with open_batch_file(_name(source), source) as file:
            if needs_prompts:
                file.require_prompts()
            return read_entries(file)
    many = len(prompts) > 1
    return [
        expanded
        # Operations without a prompt get an empty one.
        for number, prompt in enumerate(prompts or ("",), start=1)
        for expanded in expand_entry(
            Entry(place=Place(f"prompt {number}" if many else ""), prompt=prompt.strip(), key=key), EXPAND_LIMIT
        )
    ]


def _are_many(source: BinaryIO | None, prompts: Sequence[str]) -> bool:
    """Return whether this needs a batch; a single prompt does not."""
    return source is not None or len(prompts) > 1 or STDIN in prompts


def _tell_batch(result: SubmitResult, batch: str | None) -> None:
    number, known = len(result.generations), len(result.existing)
    if known:
        where = f" (batch {', '.join(result.known_in)})" if result.known_in else ""
        unused = f"; --batch {one_line(batch)} was ignored" if batch and known == number else ""
        note(f"{number - known} new, {known} already known{one_line(where)}{unused}")
    if result.batch_id:
        many = f"{number} in {result.batch_id}; " if not known else ""
        note(f"{many}follow them with `darkroom watch {result.batch_id}`")


def _tell_warnings(warnings: Sequence[Sequence[str]]) -> None:
    """Print the first warnings and the number of others."""
    told = [sentence for sentences in warnings for sentence in sentences]
    for sentence in told[:_TOLD]:
        note(f"warning: {one_line(sentence)}")
    if len(told) > _TOLD:
        note(f"{len(told) - _TOLD} more warnings (--json shows all of them)")


def _print(
    here: Services, generations: Sequence[Generation], doubts: Sequence[Sequence[str]], *, as_json: bool
) -> None:
    lineages = list_lineages(here, generations) if as_json else {}
    try:
        for generation, warnings in zip(generations, doubts, strict=True):
            if as_json:
                print_json(views.of_submitted(generation, lineages[generation.id], warnings))
            else:
                click.echo(generation.id)
    except OSError as error:
        if error.errno == errno.EPIPE:  # click handles it
            raise
        # Otherwise Python tries again to flush standard output at exit, and exits with a code of its own.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise DarkroomError(
            f"saved, but the IDs cannot be printed: {error.strerror}; `darkroom list` shows them, and repeating the "
            "command prints them without creating duplicates"
        ) from error


def _follow(here: Services, scope: Scope, *, as_json: bool) -> Ending:
    return follow(scope, as_json=as_json, waits=lambda: list_waits(here), summary=lambda: summarize(here, scope))


def _name(source: BinaryIO) -> str:
    return _STDIN_NAME if source is sys.stdin.buffer else source.name
