"""Culling: people mark the pictures of a batch as picked or rejected. A mark has no consequence of its own."""

from collections.abc import Sequence
from dataclasses import dataclass

from tasks.usecases.names import find_batch
from tasks.usecases.person import Person
from tasks.usecases.services import LedgerServices
from worker.ledger.marks import CullingPlace, Mark, PictureMark

__all__ = ["CullingPlace", "CullingRequest", "Mark", "Picture", "PictureMark", "clear_mark", "cull", "list_marks",
           "mark", "undo_last"]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Picture:
    """An image of a generation. `index`: of the asset."""

    generation_id: str
    index: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CullingRequest:
    """`at`: None for the first picture; neighbours: only those with this `mark`, or only those `unmarked`."""

    batch: str
    at: Picture | None = None
    mark: Mark | None = None
    unmarked: bool = False


def mark(here: LedgerServices, picture: Picture, verdict: Mark, person: Person) -> None:
    """Mark a picture. Raises NotFound."""
    here.ledger.marks.set(picture.generation_id, picture.index, verdict, person.name)


def clear_mark(here: LedgerServices, picture: Picture) -> None:
    """Remove the mark of a picture, if it has one."""
    here.ledger.marks.clear(picture.generation_id, picture.index)


def undo_last(here: LedgerServices, person: Person) -> Picture | None:
    """Take back this person's last mark that nobody has changed since; None if there is none."""
    found = here.ledger.marks.undo(person.name)
    return None if found is None else Picture(*found)


def list_marks(here: LedgerServices, generation_ids: Sequence[str]) -> Sequence[PictureMark]:
    """Return the marks of these generations' pictures."""
    return here.ledger.marks.of(generation_ids)


def cull(here: LedgerServices, request: CullingRequest) -> CullingPlace:
    """Return a picture of a batch with its neighbours. Raises NotFound for an unknown batch."""
    at = None if request.at is None else (request.at.generation_id, request.at.index)
    batch_id = find_batch(here.ledger, request.batch)
    return here.ledger.marks.place(batch_id, at, request.mark, unmarked=request.unmarked)
