"""`darkroom batch submit`: check a file, save its new rows, then wake the workers."""

from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

import click

from tasks.cli.ui.batch_options import STDIN_NAME, file_options, folder_of, opened, read_defaults, tell_number
from tasks.cli.ui.batch_progress import follow_batch
from tasks.cli.ui.context import open_services
from tasks.cli.ui.output import json_option, many, note, one_line, print_json
from tasks.cli.ui.progress import Ending
from tasks.cli.ui.sandbox_option import test_option
from tasks.cli.ui.steered import read_cost, read_start
from tasks.cli.ui.submitted import tell_submitted
from tasks.cli.ui.wakeup import ring
from tasks.usecases import views
from tasks.usecases.batch_file import BatchFile
from tasks.usecases.batches.check import BatchCheck
from tasks.usecases.batches.errors_file import write_errors
from tasks.usecases.batches.request import BatchRequest
from tasks.usecases.batches.show import show_batch
from tasks.usecases.batches.submit import submit_file
from tasks.usecases.inputs import InputFiles
from tasks.usecases.scope import batch_scope, summarize
from worker.errors import DarkroomError
from worker.services import Services
from worker.steps import Step

#: warnings that are printed one by one
_TOLD = 10


def _read_cost(ctx: click.Context, parameter: click.Parameter, given: str | None) -> int | None:
    amount = read_cost(ctx, parameter, given)
    if amount == 0:
        raise click.BadParameter("0 allows no submission; give a positive amount")
    return amount


@click.command("submit")
@file_options
@click.option(
    "--start-at",
    callback=read_start,
    metavar="TIME",
    help="Submit nothing before TIME, such as '2026-12-01 18:00', 18:00 or 2h.",
)
@click.option("--max-cost", callback=_read_cost, metavar="AMOUNT", help="Maximum cost of the batch; requires prices.")
@click.option(
    "--max-in-flight",
    type=click.IntRange(1, 1_000_000),
    metavar="N",
    help="Maximum number of generations at providers at once.",
)
@click.option("--new-version", is_flag=True, help="Submit changed rows again, as new versions.")
@click.option("--skip-invalid", is_flag=True, help="If some rows are invalid, submit the rest.")
@click.option(
    "--errors",
    "errors_file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write the invalid rows to this CSV file, with a column `error`.",
)
@click.option("--notify", metavar="URL", help="Address for the events of a new batch, signed (deploy/EVENTS.md).")
@test_option
@click.option("--dry-run", is_flag=True, help="Show what would be written, and write nothing.")
@click.option("--watch", "then_watch", is_flag=True, help="Follow the batch until it is done.")
@json_option
@click.pass_context
def submit(
    ctx: click.Context, *, source: BinaryIO, sheet: str | None, template: str | None, providers: tuple[str, ...],
    operation: str | None, options: dict[str, Any], follow_up: str, recipe: str | None,
    priority: int, labels: dict[str, str],
    name: str | None, expand_limit: int, max_submissions: int, start_at: datetime | None, max_cost: int | None,
    max_in_flight: int | None, new_version: bool, skip_invalid: bool, errors_file: Path | None, notify: str | None,
    is_test: bool, dry_run: bool, then_watch: bool, as_json: bool,
) -> None:  # fmt: skip
    """Submit a file as a batch: each row once.

    FILE is as for `batch check`; - reads standard input and needs --name. The batch is found by its name: submitting
    the same file again adds only new rows and completes an interrupted submission. A key is unique within its batch. A
    changed row is refused unless --new-version submits it again.

    Nothing is written unless all rows are valid or you give --skip-invalid.
    """
    if then_watch and dry_run:
        raise click.UsageError("give either --watch or --dry-run")
    with open_services() as here, opened(source, sheet) as file:
        if file.name == STDIN_NAME and name is None:
            raise click.UsageError("standard input has no name: name the batch with --name")
        request = BatchRequest(
            file=file, name=name, template=template, providers=providers, expand_limit=expand_limit,
            defaults=read_defaults(
                providers, operation=operation, options=options, follow_up=follow_up, recipe=recipe,
                priority=priority, labels=labels,
                files=InputFiles(here, folder_of(file)),
            ), start_at=start_at,
            max_cost=max_cost, max_in_flight=max_in_flight, new_version=new_version, skip_invalid=skip_invalid,
            is_test=is_test, notify=notify,
        )  # fmt: skip
        result = submit_file(
            here, request, max_submissions=max_submissions, counted=tell_number, dry_run=dry_run, tell=note,
            checked=lambda found: _tell_check(file, found, errors_file),
        )  # fmt: skip
        if as_json:
            print_json(views.of_batch_submitted(result))
        tell_submitted(result)
        if result.created and not dry_run:
            ring(Step.DISPATCH)
        if then_watch and result.batch_id is not None:
            ctx.exit(_follow(here, result.batch_id, as_json=as_json))


def _tell_check(file: BatchFile, found: BatchCheck, errors_file: Path | None) -> None:
    for sentence in found.warnings[:_TOLD]:
        note(f"warning: {one_line(sentence)}")
    if (more := len(found.warnings) + found.more_warnings - _TOLD) > 0:
        note(f"{more:,} more warnings (`darkroom batch check` shows them)")
    if not errors_file or not found.errors:
        return
    try:
        with errors_file.open("x", encoding="utf-8", newline="") as out:
            number = write_errors(file, found.errors, out)
    except OSError as error:
        reason = "it already exists" if isinstance(error, FileExistsError) else error.strerror
        raise DarkroomError(f"--errors {errors_file}: {reason}; nothing was submitted") from error
    note(
        f"{many(number, 'invalid row')} in {errors_file}: correct them there, and submit that file with the same --name"
    )


def _follow(here: Services, batch_id: str, *, as_json: bool) -> Ending:
    scope = batch_scope(here, batch_id)
    return follow_batch(scope, lambda: show_batch(here, batch_id), lambda: summarize(here, scope), as_json=as_json)
