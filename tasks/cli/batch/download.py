"""`darkroom batch download`: the results as files, named by the user's keys."""

from pathlib import Path

import click

from tasks.cli.ui.context import open_services
from tasks.cli.ui.counting import counting
from tasks.cli.ui.output import json_option, note, one_line, print_json
from tasks.cli.ui.style import size
from tasks.usecases import views
from tasks.usecases.batches import download as usecase
from tasks.usecases.batches.download import DEFAULT_NAME, FIELDS, Downloaded, DownloadRequest
from worker.secrets import redact


@click.command(epilog=f"Fields of TEMPLATE: {', '.join(FIELDS)}, prompt:40, and your own columns.")
@click.argument("batch", metavar="BATCH")
@click.argument("folder", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--name", default=DEFAULT_NAME, show_default=True, metavar="TEMPLATE",
    help="Name of each file; / makes folders, such as '{batch}/{root}/{action}_{index}.{ext}'.",
)  # fmt: skip
@json_option
@click.pass_context
def download(ctx: click.Context, *, batch: str, folder: Path, name: str, as_json: bool) -> None:
    """Download the results of a batch into DIR, verified and named by your keys.

    Row 0042 becomes 0042_0.png, and its upscale 0042_upscale1_0.png. Run it again to fetch what is missing: files with
    the right content are kept, and no file is overwritten. In names, a / in a key becomes ~, and other characters that
    some file systems refuse become =XX. If two results would get the same name, nothing is written.

    The exit code is 1 if a file could not be written.
    """
    request = DownloadRequest(batch=batch, folder=folder, name=name)
    with open_services() as here:
        done = usecase.download(here, request, counting("downloading", "done"))
    if as_json:
        print_json(views.of_download(done))
    else:
        _print(done)
    ctx.exit(0 if done.is_complete else 1)


def _print(done: Downloaded) -> None:
    for one in done.problems:
        click.echo(one_line(f"{one.status:<6}  {one.wanted.name}: {redact(one.why)}"))
    counts = [f"{done.counts['downloaded']:,} downloaded ({size(done.bytes)})"]
    counts += [f"{done.counts['present']:,} already there"] if done.counts["present"] else []
    counts += [f"{done.counts[status]:,} {status}" for status in ("left", "failed") if done.counts[status]]
    click.echo(one_line(f"{done.counts.total():,} results of {done.batch} in {done.folder}: {', '.join(counts)}"))
    if done.open:
        note(f"{done.open:,} still in progress: run the command again later for their results")
