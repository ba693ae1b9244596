"""Culling: people mark the images of a batch as picked or rejected. A mark has no consequence of its own."""

from collections.abc import Sequence
from dataclasses import dataclass

from tasks.usecases.names import find_batch
from tasks.usecases.once import Once
from tasks.usecases.person import Person
from tasks.usecases.services import LedgerServices
from worker.ledger.marks import CullingPlace, ImageMark, Mark

__all__ = [
    "CullingPlace",
    "CullingRequest",
    "ImageId",
    "ImageMark",
    "Mark",
    "clear_mark",
    "cull",
    "list_marks",
    "mark",
    "undo_last",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class ImageId:
    """An image of a generation. `index`: of the asset."""

    generation_id: str
    index: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CullingRequest:
    """`at`: None for the first image; `mark`, `unmarked`: restrict the neighbors."""

    batch: str
    at: ImageId | None = None
    mark: Mark | None = None
    unmarked: bool = False


def mark(here: LedgerServices, image: ImageId, verdict: Mark, person: Person) -> None:
    """Mark an image. Raises NotFound."""
    here.ledger.marks.set(image.generation_id, image.index, verdict, person.name)


def clear_mark(here: LedgerServices, image: ImageId) -> None:
    """Remove the mark of an image, if it has one."""
    here.ledger.marks.clear(image.generation_id, image.index)


def undo_last(here: LedgerServices, person: Person, once: Once) -> ImageId | None:
    """Undo this person's last mark that nobody has changed since, once per key; None if there is none."""
    found = here.ledger.marks.undo(person.name, once)
    return None if found is None else ImageId(*found)


def list_marks(here: LedgerServices, generation_ids: Sequence[str]) -> Sequence[ImageMark]:
    """Return the marks of these generations' images."""
    return here.ledger.marks.of(generation_ids)


def cull(here: LedgerServices, request: CullingRequest) -> CullingPlace:
    """Return an image of a batch with its neighbors. Raises NotFound for an unknown batch."""
    at = None if request.at is None else (request.at.generation_id, request.at.index)
    batch_id = find_batch(here.ledger, request.batch)
    return here.ledger.marks.place(batch_id, at, request.mark, unmarked=request.unmarked)
