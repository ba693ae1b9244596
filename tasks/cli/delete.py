"""`darkroom delete`: delete generations from the ledger and, on request, from the bucket."""

from collections import Counter

import click

from tasks.cli.ui.context import open_services
from tasks.cli.ui.operator import who
from tasks.cli.ui.output import json_option, note, print_json
from tasks.cli.ui.selecting import FEW, selecting, verbose_option
from tasks.cli.ui.totals import totals
from tasks.cli.ui.wakeup import ring
from tasks.usecases import delete as usecase
from tasks.usecases import views
from tasks.usecases.delete import Deleted, DeleteRequest
from tasks.usecases.names import short_id
from tasks.usecases.person import person
from tasks.usecases.selection import Selection
from worker.generation import State

#: what to do first, by state
_FIRST = {
    State.QUEUED: "queued (cancel them first)",
    State.UNCONFIRMED: "unconfirmed (resolve them first)",
    State.FAILED: "failed, but may still be delivered (try again tomorrow)",
}


@click.command()
@selecting
@click.option("--objects", is_flag=True, help="Also delete their files and sidecars from the bucket.")
@click.option("--yes", is_flag=True, help="Delete them; without --yes, only show what would be deleted.")
@click.option("--why", default="", metavar="TEXT", help="Recorded with your name.")
@verbose_option
@json_option
@click.pass_context
def delete(
    ctx: click.Context, *, selection: Selection, objects: bool, yes: bool, why: str, verbose: bool, as_json: bool
) -> None:
    """Delete generations, for example at a client's request.

    Prompt, options, links, texts, and the contents of callbacks and events are deleted permanently. The id, your key,
    the times, the cost and the hashes of the results are kept. Safe to repeat, for example after the bucket was
    unreachable. The exit code is 1 if any generation cannot be deleted now.
    """
    request = DeleteRequest(selection, person(who(), why), with_objects=objects, dry_run=not yes)
    few = 0 < len(selection.names) <= FEW
    counts: Counter[str] = Counter()
    left: Counter[str] = Counter()

    def tell(one: Deleted) -> None:
        if one.obstacle is not None:
            left[_FIRST.get(one.state, one.state)] += 1
        else:
            counts["generations"] += 1
            counts["objects"] += len(one.keys)
        if as_json or few or verbose:
            _print(one, request, as_json=as_json)

    with open_services() as here:
        deletions = usecase.delete(here, request, tell)
    if not counts and not left:
        note("No matching generations.")
    elif not as_json and not few:
        _print_totals(request, counts, left)
    if deletions.children:
        ids, more = " ".join(map(short_id, deletions.children[:10])), " …" if len(deletions.children) > 10 else ""
        note(f"their follow-ups are kept: {ids}{more}")
    if not yes and counts["generations"]:
        note("nothing was deleted: repeat the command with --yes")
    if deletions.wakes:
        ring(*deletions.wakes)
    ctx.exit(1 if deletions.refused else 0)


def _print_totals(request: DeleteRequest, counts: Counter[str], left: Counter[str]) -> None:
    done = "would be deleted" if request.dry_run else "deleted"
    if counts["objects"]:
        objects = f"{counts['objects']:,} {'object' if counts['objects'] == 1 else 'objects'}"
        done += f" with {objects}" if request.with_objects else f" ({objects} left in the bucket)"
    click.echo(totals({done: counts["generations"]}, left))


def _print(one: Deleted, request: DeleteRequest, *, as_json: bool) -> None:
    document = views.of_deleted(one, request)
    if as_json:
        print_json(document)
        return
    message = document["message"]
    if one.keys and one.obstacle is None:
        count = f"{len(one.keys)} {'object' if len(one.keys) == 1 else 'objects'}"
        message += f", with {count} and the sidecar" if request.with_objects else f"; {count} left in the bucket"
    click.echo(f"{one.generation_id} {'not deleted: ' if one.obstacle else ''}{message}")
