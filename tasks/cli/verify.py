"""`darkroom verify`: a year later, is everything still there, and is it what was stored?"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tasks.cli.audit import Findings, look_for_orphans, read_again
from tasks.cli.connection import open_services
from tasks.cli.output import json_option, note, one_line, print_json, secrets_hidden
from tasks.cli.repair import put_back
from tasks.cli.span import read_span
from tasks.cli.style import console
from tasks.usecases.selection import newest_batch
from worker.errors import DarkroomError
from worker.generation import Asset
from worker.ledger import Ledger
from worker.ledger.inventory import Extent
from worker.redaction import redact
from worker.services import Services

#: seconds between two lines about the progress where no bar can be drawn
_PAUSE = 10.0


@click.command()
@click.option("--batch", metavar="BATCH", help="Only results of this batch, by id or name.")
@click.option("--since", callback=read_span, metavar="SPAN", help="Only what was archived in that time, such as 2d.")
@click.option("--sample", type=click.IntRange(min=1), metavar="N", help="Only so many, chosen at random.")
@click.option("--repair", is_flag=True, help="Fetch again and put back what is missing or changed, where a link lives.")
@json_option
@click.pass_context
def verify(
    ctx: click.Context, *, batch: str | None, since: timedelta | None, sample: int | None, repair: bool, as_json: bool
) -> None:
    """Read stored results again and compare them with the ledger.

    Names objects that are missing or changed, and those in the bucket that belong to no generation (orphaned; only if
    nothing narrows the search). Exit code 1 if there are any that could not be repaired.
    """
    if sum(given is not None for given in (batch, since, sample)) > 1:
        raise click.UsageError("give only one of --batch, --since and --sample")
    found = Findings()
    with open_services() as here:
        total, pages = _chosen(here.ledger, batch, since, sample)
        here.archive.check()
        with _progress(total) as tick:
            read_again(here.archive, pages, found, tick)
        is_whole = batch is None and since is None and sample is None
        if is_whole:
            look_for_orphans(here.archive, here.ledger.inventory, found)
        failed = _repaired(here, found) if repair else None
    if as_json:
        print_json(_document(found, failed))
    else:
        _print_lines(found, failed, is_whole=is_whole)
    wrong = failed if failed is not None else {**found.missing, **found.changed}
    ctx.exit(1 if wrong or found.orphaned or found.unread else 0)


def _chosen(
    ledger: Ledger, batch: str | None, since: timedelta | None, sample: int | None
) -> tuple[int, Iterable[list[Asset]]]:
    inventory = ledger.inventory
    if sample is not None:
        assets = inventory.sample(sample)
        return len(assets), [assets]
    extent = Extent(
        newest_batch(ledger, batch) if batch is not None else None,
        ledger.database.clock() - since if since is not None else None,
    )
    return inventory.count(extent), inventory.pages(extent)


@contextmanager
def _progress(total: int) -> Iterator[Callable[[], None]]:
    screen = console(stderr=True)
    if screen.is_terminal:
        columns = (TextColumn("reading"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=screen, transient=True) as bar:
            reading = bar.add_task("reading", total=total)
            yield lambda: bar.advance(reading)
        return
    done, told_at = 0, time.monotonic()

    def tick() -> None:
        nonlocal done, told_at
        done += 1
        if time.monotonic() - told_at > _PAUSE:
            told_at = time.monotonic()
            note(f"{done:,} of {total:,} read")

    yield tick


def _repaired(here: Services, found: Findings) -> dict[str, str]:
    """Put back what can be; why the others could not."""
    failed = {}
    for state, keys in (("missing", found.missing), ("changed", found.changed)):
        for key, assets in keys.items():
            reason = _put_back(here, assets, state)
            if reason is not None:
                failed[key] = redact(reason)
    return failed


def _put_back(here: Services, assets: list[Asset], state: str) -> str | None:
    reason = None
    for asset in assets:
        try:
            put_back(here, asset, state)
        except DarkroomError as error:
            reason = reason or str(error)
        else:
            return None
    return reason


def _document(found: Findings, failed: Mapping[str, str] | None) -> dict[str, object]:
    document: dict[str, object] = {
        "checked": found.checked,
        "missing": list(found.missing),
        "changed": list(found.changed),
        "orphaned": found.orphaned,
        "unread": secrets_hidden(found.unread),
        "rejected": found.rejected,
    }
    if failed is not None:
        damaged = (*found.missing, *found.changed)
        document |= {"repaired": [key for key in damaged if key not in failed], "not_repaired": failed}
    return document


def _print_lines(found: Findings, failed: Mapping[str, str] | None, *, is_whole: bool) -> None:
    for state, keys in (("missing", found.missing), ("changed", found.changed)):
        for key, assets in keys.items():
            end = ""
            if failed is not None:
                end = f"; not repaired: {failed[key]}" if key in failed else "; repaired"
            owners = ", ".join(dict.fromkeys(asset.generation_id for asset in assets))
            click.echo(one_line(f"{state:<8}  {key}  of {owners}{end}"))
    for key, reason in found.unread.items():
        click.echo(one_line(f"unread    {key}: {redact(reason)}"))
    for key in found.orphaned:
        click.echo(one_line(f"orphaned  {key}"))
    counts = [f"{len(found.missing):,} missing", f"{len(found.changed):,} changed"]
    counts += [f"{len(found.unread):,} could not be read"] if found.unread else []
    counts += [f"{len(found.orphaned):,} orphaned"] if is_whole else []
    click.echo(f"{found.checked:,} results read: {', '.join(counts)}")
    if found.rejected:
        note(f"besides, {len(found.rejected):,} files that were refused are kept aside, such as {found.rejected[0]}")
