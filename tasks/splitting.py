"""Cuts the four images out of a grid: locally, pixel for pixel, from our own copy, at no cost."""

import hashlib
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from tempfile import SpooledTemporaryFile
from typing import IO

from tasks.storing import keep_file
from worker.errors import ArchiveError, LinkDead, NotFound
from worker.generation import Asset, AssetKind, AssetState, Generation, Operation
from worker.ledger.assets import ArchiveClaim, Stored
from worker.media import inspect, quadrants
from worker.services import Services

#: actions that only a grid offers
_OF_A_GRID = frozenset({"upscale1", "upscale2", "upscale3", "upscale4"})
#: bytes of a grid that are kept in memory; the rest goes to a file without a name
_MEMORY_PART = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Quadrant:
    file: IO[bytes]
    sha256: str
    bytes: int


def is_grid(generation: Generation, assets: Sequence[Asset]) -> bool:
    """Return whether its result is one image that contains four."""
    is_one = len(assets) == 1 and assets[0].kind is AssetKind.IMAGE
    return is_one and _OF_A_GRID.issubset(generation.actions)


def actions_of(generation: Generation, assets: Sequence[Asset]) -> tuple[str, ...]:
    """Return what can follow an archived generation: what its provider offers, and what Darkroom does itself."""
    return (*generation.actions, Operation.SPLIT) if is_grid(generation, assets) else generation.actions


def keep_quadrants(here: Services, claim: ArchiveClaim, waiting: Sequence[Asset]) -> list[Stored]:
    """Store the quadrants that are still waiting.

    Raises LinkDead if the grid was deleted, ArchiveError if the bucket does not return its bytes, and what `quadrants`
    raises.
    """
    cut = cut_grid(here, claim.generation)
    stored = []
    for asset in waiting:
        quadrant = cut[asset.index]
        facts = inspect(quadrant.file, AssetKind.IMAGE)
        stored.append(keep_file(here, claim, asset.index, quadrant, facts))
    return stored


def cut_grid(here: Services, generation: Generation) -> list[Quadrant]:
    """Return the quadrants of the grid that a split belongs to. Raises the same errors as `keep_quadrants`."""
    with _grid(here, generation) as (grid, file):
        parts = quadrants(file, str(grid.content_type))
    return [Quadrant(io.BytesIO(part), hashlib.sha256(part).hexdigest(), len(part)) for part in parts]


@contextmanager
def _grid(here: Services, generation: Generation) -> Iterator[tuple[Asset, IO[bytes]]]:
    parent_id = str(generation.parent_id)
    (grid,) = here.ledger.generations.assets_of([parent_id])[parent_id]
    if grid.state is AssetState.DELETED:
        raise LinkDead(f"the grid of {parent_id} was deleted")
    with SpooledTemporaryFile(_MEMORY_PART) as file:
        digest = hashlib.sha256()
        try:
            with here.archive.read(str(grid.object_key)) as pieces:
                for piece in pieces:
                    digest.update(piece)
                    file.write(piece)
        except NotFound as error:
            raise ArchiveError(f"{error}: `darkroom verify --repair` may bring it back") from error
        if digest.hexdigest() != grid.sha256:
            raise ArchiveError(
                f'"{grid.object_key}" has different bytes: `darkroom verify --repair` may bring them back'
            )
        file.seek(0)
        yield grid, file
