"""`darkroom delete`: what a client withdraws goes, out of the ledger and out of the bucket."""

import click

from tasks.cli.ui.context import open_services
from tasks.cli.ui.operator import who
from tasks.cli.ui.output import json_option, note, print_json
from tasks.cli.ui.wakeup import ring
from tasks.usecases import delete as usecase
from tasks.usecases import views
from tasks.usecases.delete import Deleted, DeleteRequest
from tasks.usecases.person import person
from tasks.usecases.selection import Selection


@click.command()
@click.argument("generation_ids", nargs=-1, metavar="[GENERATION]...")
@click.option("--batch", metavar="BATCH", help="All of this batch, by id or name.")
@click.option("--objects", is_flag=True, help="Delete their pictures and sidecars in the bucket, too.")
@click.option("--yes", is_flag=True, help="Do it; without it you are only told what would go.")
@click.option("--why", default="", metavar="TEXT", help="Kept with your name.")
@json_option
@click.pass_context
def delete(
    ctx: click.Context,
    *,
    generation_ids: tuple[str, ...],
    batch: str | None,
    objects: bool,
    yes: bool,
    why: str,
    as_json: bool,
) -> None:
    """Delete what a client withdraws.

    Prompt, options, links, texts and what callbacks and events told go for good. What stays: the id, your own key, the
    times, what it cost, and the hashes of its results. Repeating it does no harm, also after the bucket was away. The
    exit code is 1 if one of them cannot be deleted now.
    """
    if bool(generation_ids) == (batch is not None):
        raise click.UsageError("give either GENERATIONs or --batch")
    request = DeleteRequest(Selection(generation_ids, batch), person(who(), why), with_objects=objects, dry_run=not yes)
    with open_services() as here:
        deletions = usecase.delete(here, request, lambda one: _print(one, request, as_json=as_json))
    if deletions.children:
        ids, more = " ".join(deletions.children[:10]), " …" if len(deletions.children) > 10 else ""
        note(f"their follow-ups stay: {ids}{more}")
    if not yes:
        note("nothing was deleted: repeat it with --yes to do it")
    if deletions.wakes:
        ring(*deletions.wakes)
    ctx.exit(1 if deletions.refused else 0)


def _print(one: Deleted, request: DeleteRequest, *, as_json: bool) -> None:
    document = views.of_deleted(one, request)
    if as_json:
        print_json(document)
        return
    message = document["message"]
    if one.keys and one.obstacle is None:
        count = f"{len(one.keys)} objects"
        message += f", with {count} and the sidecar" if request.with_objects else f"; {count} stay in the bucket"
    click.echo(f"{one.generation_id} {'not deleted: ' if one.obstacle else ''}{message}")
