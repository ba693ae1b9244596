"""The file and the options that `batch check` and `batch submit` share."""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import click

from tasks.cli.ui.labels import label_option
from tasks.cli.ui.options import FirstOperation, read_options
from tasks.cli.ui.output import many, note
from tasks.usecases.batch_file import EXPAND_LIMIT, MAX_SUBMISSIONS, BatchFile, Counted, open_batch_file
from tasks.usecases.entry import PRIORITIES
from tasks.usecases.entry_check import DEFAULT_PROVIDER, Defaults
from tasks.usecases.inputs import InputFiles
from tasks.usecases.provider_choice import read_providers as read_provider_names
from worker.errors import ConfigurationError, RequestInvalid
from worker.generation import Operation

STDIN_NAME = "standard input"


def read_providers(_: click.Context, __: click.Parameter, given: str | None) -> tuple[str, ...]:
    if given is None:
        return ()
    try:
        return read_provider_names(given)
    except (ConfigurationError, RequestInvalid) as error:
        raise click.BadParameter(str(error)) from error


_OPTIONS = (
    click.argument("source", type=click.File("rb"), metavar="FILE"),
    click.option("--sheet", metavar="NAME", help="Sheet of a spreadsheet.  [default: the first one]"),
    click.option(
        "--template",
        metavar="PROMPT",
        help="Prompt for all rows: {column} is filled in; {red, blue} makes one prompt for each.",
    ),
    click.option(
        "--provider",
        "providers",
        callback=read_providers,
        metavar="NAMES",
        help=f"Providers in order of preference, separated by commas.  [default: {DEFAULT_PROVIDER}]",
    ),
    click.option("--operation", type=FirstOperation(), help="Operation for rows without one.  [default: imagine]"),
    click.option(
        "--option",
        "options",
        multiple=True,
        callback=read_options,
        metavar="NAME=VALUE",
        help="An option for rows without their own value, such as version=8.1. Repeatable.",
    ),
    click.option("--recipe", metavar="NAME", help="Recipe for rows without one: what follows each success."),
    click.option("--follow-up", default="", metavar="ACTIONS", help="Follow-up actions, such as upscale1,upscale3."),
    click.option(
        "--priority",
        type=click.IntRange(PRIORITIES[0], PRIORITIES[-1]),
        default=0,
        metavar="N",
        help="Higher goes first.",
    ),
    label_option,
    click.option("--name", metavar="NAME", help="Name of the batch.  [default: the file's name without its suffix]"),
    click.option(
        "--expand-limit",
        type=click.IntRange(min=1),
        default=EXPAND_LIMIT,
        show_default=True,
        metavar="N",
        help="Maximum number of generations per row.",
    ),
    click.option(
        "--max-submissions",
        type=click.IntRange(min=1),
        default=MAX_SUBMISSIONS,
        show_default=True,
        metavar="N",
        help="Maximum number of generations for the whole file.",
    ),
)


def file_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the file and its options to a command."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@contextmanager
def opened(source: BinaryIO, sheet: str | None) -> Iterator[BatchFile]:
    name = STDIN_NAME if source is sys.stdin.buffer else source.name
    with open_batch_file(name, source, sheet) as file:
        yield file


def tell_number(counted: Counted) -> None:
    note(f"{many(counted.rows, 'row')}, {many(counted.submissions, 'submission')}")


def folder_of(file: BatchFile) -> Path:
    """Return the folder that image paths in the file are relative to."""
    return Path() if file.name == STDIN_NAME else Path(file.name).parent


def read_defaults(
    providers: tuple[str, ...], *, files: InputFiles, operation: str | None, options: dict[str, Any], follow_up: str,
    recipe: str | None, priority: int, labels: Mapping[str, str],
) -> Defaults:  # fmt: skip
    return Defaults(
        provider=providers[0] if providers else DEFAULT_PROVIDER,
        operation=Operation(operation or Operation.IMAGINE),
        options=options,
        follow_up=follow_up,
        recipe=recipe,
        priority=priority,
        labels=labels,
        files=files,
    )
