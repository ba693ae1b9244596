"""Which generations a request is about."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from worker.errors import NotFound, RequestInvalid
from worker.generation import Generation, State
from worker.ledger import Ledger

#: generations that are read at once
PAGE = 1000


@dataclass(frozen=True, slots=True)
class Selection:
    """Either generations by their ids, or a batch by its id or name. Raises RequestInvalid for both or neither."""

    generation_ids: tuple[str, ...] = ()
    batch: str | None = None

    def __post_init__(self) -> None:
        if bool(self.generation_ids) == (self.batch is not None):
            raise RequestInvalid("select either generations or a batch; nothing was changed")


def selected(ledger: Ledger, selection: Selection, states: Sequence[State]) -> list[str]:
    """The named generations, each once; of a batch those in these states, also where several have its name.

    Raises NotFound for a batch that nobody has.
    """
    if selection.batch is None:
        return list(dict.fromkeys(selection.generation_ids))
    newest_batch(ledger, selection.batch)  # which tells an unknown batch from one without such generations
    pages = (page for state in states for page in pages_of(ledger, state=state, batch=selection.batch))
    return [one.id for page in pages for one in page]


def newest_batch(ledger: Ledger, batch: str) -> str:
    """The id of the newest batch of that id or name; raises NotFound if there is none."""
    newest = ledger.generations.newest_batch(batch)
    if newest is None:
        raise NotFound(
            f"there is no batch {batch!r}; `darkroom list --json` shows the batches of the newest generations"
        )
    return newest


def pages_of(
    ledger: Ledger,
    *,
    state: State | None = None,
    batch: str | None = None,
    limit: int | None = None,
    size: int | None = None,
) -> Iterator[list[Generation]]:
    """Generations, the newest first, up to `size` (else `PAGE`) at a time; `limit`: of all pages together."""
    size, before, number = size or PAGE, None, 0
    while (room := size if limit is None else min(size, limit - number)) > 0:
        page = ledger.generations.page(state=state, batch=batch, limit=room, before=before)
        if not page:
            return
        yield page
        before, number = page[-1].id, number + len(page)
