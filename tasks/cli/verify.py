"""`darkroom verify`: compare stored results with the ledger."""

from datetime import timedelta

import click

from tasks.cli.ui.context import open_services
from tasks.cli.ui.counting import counting
from tasks.cli.ui.duration_option import read_span
from tasks.cli.ui.labels import label_filter
from tasks.cli.ui.output import json_option, note, one_line, print_json
from tasks.usecases import verify as usecase
from tasks.usecases import views
from tasks.usecases.verify import Verification, VerifyRequest
from worker.errors import RequestInvalid
from worker.secrets import redact


@click.command()
@click.option("--batch", metavar="BATCH", help="Only the results of this batch, by name or id.")
@label_filter
@click.option(
    "--since", callback=read_span, metavar="SPAN", help="Only what was archived in this time span, such as 2d."
)
@click.option("--sample", type=click.IntRange(min=1), metavar="N", help="Only N results, chosen at random.")
@click.option("--repair", is_flag=True, help="Restore missing and changed objects if their link still works.")
@json_option
@click.pass_context
def verify(
    ctx: click.Context, *, batch: str | None, labels: dict[str, str], since: timedelta | None, sample: int | None,
    repair: bool, as_json: bool,
) -> None:  # fmt: skip
    """Re-read stored results and compare them with the ledger.

    Lists missing and changed objects and, if all results are verified, orphaned objects, which belong to no generation.
    The exit code is 1 if any of them was not repaired.
    """
    try:
        request = VerifyRequest(batch=batch, labels=labels, since=since, sample=sample, repair=repair)
    except RequestInvalid as error:
        raise click.UsageError(str(error)) from error
    with open_services() as here:
        verification = usecase.verify(here, request, counting("reading", "read"))
    if as_json:
        print_json(views.of_verification(verification))
    else:
        _print_lines(verification, is_whole=request.is_whole)
    ctx.exit(0 if verification.is_intact else 1)


def _print_lines(verification: Verification, *, is_whole: bool) -> None:
    failed = verification.not_repaired
    for state, keys in (("missing", verification.missing), ("changed", verification.changed)):
        for key, assets in keys.items():
            end = ""
            if failed is not None:
                end = f"; not repaired: {failed[key]}" if key in failed else "; repaired"
            owners = ", ".join(dict.fromkeys(asset.generation_id for asset in assets))
            click.echo(one_line(f"{state:<8}  {key}  of {owners}{end}"))
    for key, reason in verification.unread.items():
        click.echo(one_line(f"unread    {key}: {redact(reason)}"))
    for key in verification.orphaned:
        click.echo(one_line(f"orphaned  {key}"))
    counts = [f"{len(verification.missing):,} missing", f"{len(verification.changed):,} changed"]
    counts += [f"{len(verification.unread):,} could not be read"] if verification.unread else []
    counts += [f"{len(verification.orphaned):,} orphaned"] if is_whole else []
    results = "result" if verification.checked == 1 else "results"
    click.echo(f"{verification.checked:,} {results} read: {', '.join(counts)}")
    if verification.rejected:
        count, first = len(verification.rejected), verification.rejected[0]
        note(f"{count:,} refused {'file is' if count == 1 else 'files are'} kept as well, such as {first}")
