"""`darkroom batch results`: every row, with its images, costs and reasons."""

import sys
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import IO

import click

from tasks.cli.ui.context import open_services
from tasks.cli.ui.counting import counting
from tasks.cli.ui.duration_option import read_span
from tasks.cli.ui.output import many, note, one_line
from tasks.usecases.batches import results as usecase
from tasks.usecases.batches.new_file import new_file
from tasks.usecases.batches.results import ERROR_FORMATS, Exported, Format, Output, ResultsRequest
from worker.errors import RequestInvalid

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command()
@click.argument("batch", metavar="BATCH")
@click.option("--format", "given", type=click.Choice([one.value for one in Format]), help="Default: by FILE's suffix.")
@click.option("--output", "-o", type=_FILE, metavar="FILE", help="Write to FILE instead of standard output.")
@click.option(
    "--links", callback=read_span, metavar="SPAN", help="Add links to the results that work for SPAN, at most 7d."
)
@click.option("--errors", type=_FILE, metavar="FILE", help="Write the failing rows of your sheet to FILE.")
@click.option("--force", is_flag=True, help="Replace existing files.")
@click.option("--json", "given", flag_value=Format.JSONL.value, help="The same as --format jsonl.")
def results(
    *, batch: str, given: str | None, output: Path | None, links: timedelta | None, errors: Path | None, force: bool
) -> None:
    """Return every row of a batch, in your order and with your columns, plus results, costs and reasons.

    \b
    csv    one line per generation, follow-ups below their row; files side by side in
           object_key_1, object_key_2, …; text that a spreadsheet would read as a
           formula gets a ' in front; your own column `state` is called input.state
    jsonl  one object per generation, for programs
    json   the same in one array
    xlsx   as csv, for Excel; needs --output
    html   a contact sheet that opens from disk: small images are embedded (up to 50 MB)

    --links adds signed links, which work without a password for anyone who has the file, until they or the credentials
    that signed them expire.

    --errors writes your failing rows with an `error` column (csv, jsonl or xlsx, by FILE's suffix). Correct them there
    and run `darkroom batch submit FILE --name BATCH --new-version`, which ignores that column. To submit them again
    unchanged, use `darkroom batch retry BATCH` instead.
    """  # noqa: D301 - click reads the \b
    shown = _format(given, output, is_wanted=output is not None or given is not None or errors is None)
    if shown is Format.XLSX and output is None:
        raise click.UsageError("--format xlsx needs --output FILE")
    if output is not None and errors is not None and output.absolute() == errors.absolute():
        raise click.UsageError("--output and --errors name the same file")
    failing = None if errors is None else Format.of(errors.name)
    if errors is not None and failing not in ERROR_FORMATS:
        raise click.UsageError(f"--errors {errors}: end the name with one of .{', .'.join(ERROR_FORMATS)}")
    with open_services() as here, ExitStack() as files:

        def opened(path: Path) -> IO[bytes]:
            return files.enter_context(new_file(path, replace=force))

        outputs = []
        if shown is not None:
            # Programs reading a pipe do not expect a byte order mark.
            piped = Output(shown, sys.stdout.buffer, mark=False)
            outputs.append(piped if output is None else Output(shown, opened(output)))
        failed = None if errors is None or failing is None else Output(failing, opened(errors))
        try:
            request = ResultsRequest(batch=batch, outputs=outputs, errors=failed, links=links)
        except RequestInvalid as error:
            raise click.UsageError(str(error)) from error
        exported = usecase.export_results(here, request, counting("writing", "written"))
    _tell(exported, output, errors)


def _format(given: str | None, output: Path | None, *, is_wanted: bool) -> Format | None:
    if given is not None:
        return Format(given)
    found = None if output is None else Format.of(output.name)
    if output is not None and found is None:
        raise click.UsageError(f"--output {output}: give --format, or end the name with one of .{', .'.join(Format)}")
    return found or (Format.CSV if is_wanted else None)


def _tell(exported: Exported, output: Path | None, errors: Path | None) -> None:
    name = one_line(exported.batch)
    if output is not None:
        note(f"{many(exported.generations, 'generation')} of {name} written to {output}")
    if left_out := exported.without_thumbnail:
        note(f"{many(left_out, 'image')} without a thumbnail: --links shows those that did not fit")
    if (end := exported.links_expire_at) is not None:
        note(f"links work until {end:%Y-%m-%d %H:%M} UTC, without a password: share them with care")
    if errors is None:
        return
    note(f"{many(exported.failing, 'failing row')} written to {errors}")
    if exported.failing:
        note(f"to submit them corrected: darkroom batch submit {errors} --name {name} --new-version")
        note(f"to submit them unchanged: darkroom batch retry {name}")
    if exported.failed_follow_ups:
        note(f"not in this file: {many(exported.failed_follow_ups, 'failed follow-up')}; darkroom batch retry {name}")
