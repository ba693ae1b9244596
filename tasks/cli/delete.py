"""`darkroom delete`: what a client withdraws goes, out of the ledger and out of the bucket."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import click

from tasks.cli.connection import open_services, ring
from tasks.cli.output import json_option, note, print_json
from tasks.cli.who import who
from tasks.usecases.audit import described
from tasks.usecases.selection import newest_batch
from worker.archive import Archive
from worker.errors import ArchiveError, ConfigurationError
from worker.generation import Asset, Generation
from worker.ledger.unclear import Person
from worker.services import Services

#: generations that one transaction deletes
_BITE = 50
_THREADS = 8


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
    person = Person(who(), " ".join(why.split()))
    with open_services() as here:
        chosen = list(dict.fromkeys(generation_ids)) or here.ledger.manifests.generation_ids(
            newest_batch(here.ledger, str(batch))
        )
        here.ledger.queries.get(chosen)  # all of them, or nothing is done
        if objects:
            here.archive.check()
        refused = 0
        for start in range(0, len(chosen), _BITE):
            some = chosen[start : start + _BITE]
            obstacles = here.ledger.deleting.delete(some, person) if yes else here.ledger.deleting.obstacles(some)
            refused += len(obstacles)
            deleted = [one for one in some if one not in obstacles]
            left = here.ledger.deleting.objects(deleted)
            if yes and objects:
                _delete_objects(here, deleted, left)
            for one in some:
                _tell(one, obstacles.get(one), [asset for asset, _ in left if asset.generation_id == one],
                      done=yes, objects=objects, as_json=as_json)  # fmt: skip
        children = here.ledger.deleting.children(chosen)
    if children:
        note(f"their follow-ups stay: {' '.join(children[:10])}{' …' if len(children) > 10 else ''}")
    if not yes:
        note("nothing was deleted: repeat it with --yes to do it")
    elif refused < len(chosen):
        ring("manifest", "notify")
    ctx.exit(1 if refused else 0)


def _tell(
    generation_id: str, obstacle: str | None, left: Sequence[Asset], *, done: bool, objects: bool, as_json: bool
) -> None:
    keys = [str(asset.key) for asset in left]
    message = obstacle or ("deleted" if done else "would be deleted")
    if as_json:
        facts = {"done": done and obstacle is None, "objects": keys if objects else [], "message": message}
        print_json({"id": generation_id, **facts})
        return
    if keys and obstacle is None:
        count = f"{len(keys)} objects"
        message += f", with {count} and the sidecar" if objects else f"; {count} stay in the bucket"
    click.echo(f"{generation_id} {'not deleted: ' if obstacle else ''}{message}")


def _delete_objects(here: Services, generation_ids: Sequence[str], left: Sequence[tuple[Asset, bool]]) -> None:
    """All that lies in the bucket of deleted generations; an object that another one needs too stays."""
    generations = here.ledger.queries.get(generation_ids)
    names = here.ledger.inventory.batch_names({one.batch_id for one in generations})
    assets = here.ledger.queries.assets_of(generation_ids)
    own = {asset.id for asset, is_shared in left if not is_shared}

    def delete_all_of(generation: Generation) -> None:
        of_it = assets[generation.id]
        _delete(here.archive, generation, names.get(generation.batch_id), of_it, own)

    with ThreadPoolExecutor(_THREADS, thread_name_prefix="delete") as pool:
        try:
            for _ in pool.map(delete_all_of, generations):
                pass
        except (ArchiveError, ConfigurationError) as error:
            pool.shutdown(cancel_futures=True)
            kept = "the ledger has forgotten them, but some of their objects are left: say it again"
            raise type(error)(f"{error}; {kept}") from error
    here.ledger.deleting.objects_are_gone([asset.id for asset, _ in left])


def _delete(
    archive: Archive, generation: Generation, batch: str | None, assets: Sequence[Asset], own: set[int]
) -> None:
    for asset in assets:
        archive.delete(archive.keys.rejected(generation.id, asset.index))
    there = [asset for asset in assets if asset.key is not None]
    if not there:
        return
    sidecars = [archive.keys.sidecar(generation, batch)]
    # Where it was under another template.
    sidecars += [archive.keys.sidecar_beside(str(asset.key)) for asset in there if asset.id in own]
    for key in dict.fromkeys(sidecars):
        # A later generation with the same key of its caller's has the same folder.
        if described(archive, key) == generation.id:
            archive.delete(key)
    for asset in there:
        if asset.id in own:
            archive.delete(str(asset.key), asset.sha256)
