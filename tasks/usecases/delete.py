"""Delete generations from the ledger and, on request, from the bucket."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from tasks.usecases.audit import described
from tasks.usecases.person import Person
from tasks.usecases.selection import Selection, select
from worker.archive import Archive
from worker.errors import ArchiveError, ConfigurationError
from worker.generation import Asset, Generation, Lineage, State
from worker.services import Services
from worker.steps import Step

#: generations deleted per transaction
_BITE = 50
#: generations, with their prompts, in memory at once
_READ_AT_ONCE = 500
_THREADS = 8


@dataclass(frozen=True, slots=True)
class DeleteRequest:
    """`with_objects`: delete the objects in the bucket too. `dry_run`: only report what would be deleted."""

    selection: Selection
    person: Person
    with_objects: bool = False
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Deleted:
    """A generation that is deleted, or would be; `obstacle`: why it cannot be now. `keys`: its assets in the bucket.

    `state`: before.
    """

    generation_id: str
    state: State
    obstacle: str | None
    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Deletions:
    """`refused`: how many could not be deleted. `children`: follow-ups of the selected ones, which are kept.

    `wakes`: the steps that have work now.
    """

    refused: int
    children: tuple[str, ...]
    wakes: tuple[Step, ...]


def delete(here: Services, request: DeleteRequest, tell: Callable[[Deleted], None]) -> Deletions:
    """Delete in small groups; `tell` is called for each. Safe to repeat, for example after the bucket was unreachable.

    Raises NotFound before any deletion; ArchiveError or ConfigurationError if the bucket cannot be used.
    """
    ledger, selection = here.ledger, request.selection
    chosen = select(ledger, selection, tuple(State)).ids
    states: dict[str, State] = {}
    for start in range(0, len(chosen), _READ_AT_ONCE):
        some = chosen[start : start + _READ_AT_ONCE]
        states.update((one.id, one.state) for one in ledger.generations.get(some))
    if request.with_objects:
        here.archive.check()
    refused, deleting = 0, ledger.generations
    for start in range(0, len(chosen), _BITE):
        some = chosen[start : start + _BITE]
        obstacles = deleting.obstacles_to_delete(some) if request.dry_run else deleting.delete(some, request.person)
        refused += len(obstacles)
        deleted = [one for one in some if one not in obstacles]
        left = deleting.objects_to_delete(deleted)
        if request.with_objects and not request.dry_run:
            _delete_objects(here, deleted, left)
        for one in some:
            keys = tuple(str(asset.object_key) for asset, _ in left if asset.generation_id == one)
            tell(Deleted(one, states[one], obstacles.get(one), keys))
    children = tuple(deleting.children(chosen))
    is_changed = not request.dry_run and refused < len(chosen)
    return Deletions(refused, children, (Step.MANIFEST, Step.NOTIFY) if is_changed else ())


def _delete_objects(here: Services, generation_ids: Sequence[str], left: Sequence[tuple[Asset, bool]]) -> None:
    """Delete the objects of deleted generations, except those that another generation needs."""
    generations = here.ledger.generations.get(generation_ids)
    lineages = here.ledger.generations.lineages(generation_ids)
    assets = here.ledger.generations.assets_of(generation_ids)
    own = {asset.id for asset, is_shared in left if not is_shared}

    def delete_all_of(generation: Generation) -> None:
        of_it = assets[generation.id]
        _delete(here.archive, generation, lineages[generation.id], of_it, own)

    with ThreadPoolExecutor(_THREADS, thread_name_prefix="delete") as pool:
        try:
            for _ in pool.map(delete_all_of, generations):
                pass
        except (ArchiveError, ConfigurationError) as error:
            pool.shutdown(cancel_futures=True)
            kept = "deleted from the ledger, but some objects remain in the bucket: run the command again"
            raise type(error)(f"{error}; {kept}") from error
    here.ledger.generations.record_objects_deleted([asset.id for asset, _ in left])


def _delete(archive: Archive, generation: Generation, lineage: Lineage, assets: Sequence[Asset], own: set[int]) -> None:
    for asset in assets:
        archive.delete(archive.keys.rejected(generation.id, asset.index))
    there = [asset for asset in assets if asset.object_key is not None]
    if not there:
        return
    sidecars = [archive.keys.sidecar(generation, lineage)]
    # Its sidecar's place under an earlier key template.
    sidecars += [archive.keys.sidecar_beside(str(asset.object_key)) for asset in there if asset.id in own]
    for key in dict.fromkeys(sidecars):
        # A later generation with the same user key shares the folder.
        if described(archive, key) == generation.id:
            archive.delete(key)
    for asset in there:
        if asset.id in own:
            if asset.thumbnail is not None:
                archive.delete(archive.keys.thumbnail_beside(str(asset.object_key)))
            archive.delete(str(asset.object_key), asset.sha256)
