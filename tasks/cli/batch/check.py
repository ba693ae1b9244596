"""`darkroom batch check`: every mistake in a file, and what the file would cost."""

import re
from collections.abc import Iterator
from typing import Any, BinaryIO

import click

from tasks.cli.ui.batch_options import file_options, folder_of, opened, read_defaults, tell_number
from tasks.cli.ui.context import open_services
from tasks.cli.ui.output import json_option, many, one_line, print_json
from tasks.usecases import views
from tasks.usecases.batches.check import BatchCheck, check_batch
from tasks.usecases.batches.request import BatchRequest
from tasks.usecases.inputs import InputFiles

#: errors and warnings that are printed one by one
_TOLD, _TOLD_WARNINGS = 50, 10
#: reasons that are printed per provider
_REASONS = 5


@click.command("check")
@file_options
@json_option
@click.pass_context
def check(
    ctx: click.Context, *, source: BinaryIO, sheet: str | None, template: str | None, providers: tuple[str, ...],
    operation: str | None, options: dict[str, Any], follow_up: str, recipe: str | None,
    priority: int, labels: dict[str, str],
    name: str | None, expand_limit: int, max_submissions: int, as_json: bool,
) -> None:  # fmt: skip
    r"""Check a file before you submit it: its mistakes, and the number and cost of its submissions.

    FILE is CSV, XLSX, JSON lines, a JSON array or plain text with one prompt per line; - reads standard input. Columns:
    key (or custom_id, id, sku), prompt, provider, operation, recipe, follow_up, priority, label.NAME, and each option
    under its own name. All other columns are yours, and prompts can use them as {column}.

    In prompts, {red, blue} makes one prompt for each; write \, for a comma inside one, and \{ for a brace.

    Writes nothing; exits with 1 if anything is wrong.
    """
    with open_services() as here, opened(source, sheet) as file:
        request = BatchRequest(
            file=file, name=name, template=template, providers=providers, expand_limit=expand_limit,
            defaults=read_defaults(
                providers, operation=operation, options=options, follow_up=follow_up, recipe=recipe,
                priority=priority, labels=labels,
                files=InputFiles(here, folder_of(file)),
            ),
        )  # fmt: skip
        found = check_batch(here, request, max_submissions=max_submissions, counted=tell_number)
        if as_json:
            print_json(views.of_batch_check(file, found))
        else:
            for line in _report(file.name, found):
                click.echo(one_line(line))
    ctx.exit(1 if found.errors else 0)


def _report(file: str, found: BatchCheck) -> Iterator[str]:
    for fault in found.errors[:_TOLD]:
        value = f" (it has {fault.value!r})" if fault.value and not _names(fault.message, fault.value) else ""
        yield f"{fault.sentence(file)}{value}"
    if (more := len(found.errors) - _TOLD) > 0:
        yield f"and {more:,} more (--json lists all)"
    for sentence in found.warnings[:_TOLD_WARNINGS]:
        yield f"warning: {sentence}"
    if (more := len(found.warnings) + found.more_warnings - _TOLD_WARNINGS) > 0:
        yield f"and {more:,} more warnings"
    for one in found.providers:
        alternative = f", {one.alternative:,} more if others fail" if one.alternative else ""
        yield f"{one.name}: {many(one.submissions, 'submission')}{alternative}"
        for reason, rows in one.cannot[:_REASONS]:
            yield f"  not possible: {reason} ({many(rows, 'time')})"
    yield from _costs(found)
    if found.errors:
        yield f"{found.invalid:,} of {many(found.rows, 'row')} invalid; nothing was written"
    else:
        yield f"{many(found.rows, 'row')} valid: {many(found.submissions, 'submission')}"


def _names(message: str, value: str) -> bool:
    """Return whether the message names the value itself, not just a longer word, such as `imagine` for `imagin`."""
    return re.search(rf"(?<!\w){re.escape(value)}(?!\w)", message) is not None


def _costs(found: BatchCheck) -> Iterator[str]:
    estimate = found.estimate
    if estimate is None:
        yield "cost: unknown, because DARKROOM_PRICES is not set"
        return
    text = estimate.prices.text
    follow_ups = f", and up to {text(estimate.follow_ups)} for follow-ups" if estimate.follow_ups else ""
    yield f"cost: {text(estimate.amount)}{follow_ups}"
    if estimate.unpriced:
        yield f"  {many(estimate.unpriced, 'submission')} without a price, not included"
    if estimate.assumed:
        yield f"  {many(estimate.assumed, 'submission')} at the highest known factor, because the price file has none"
    for budget in estimate.budgets:
        yield f"  {estimate.room(budget)}"
