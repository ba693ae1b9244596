"""Which generations a request is about."""

from collections.abc import Sequence
from dataclasses import dataclass

from worker.errors import NotFound, RequestInvalid
from worker.generation import State
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
    return [one for state in states for one in _in_state(ledger, selection.batch, state)]


def newest_batch(ledger: Ledger, batch: str) -> str:
    """The id of the newest batch of that id or name; raises NotFound if there is none."""
    newest = ledger.generations.newest_batch(batch)
    if newest is None:
        raise NotFound(
            f"there is no batch {batch!r}; `darkroom list --json` shows the batches of the newest generations"
        )
    return newest


def _in_state(ledger: Ledger, batch: str, state: State) -> list[str]:
    ids: list[str] = []
    while page := ledger.generations.page(state=state, batch=batch, limit=PAGE, before=ids[-1] if ids else None):
        ids += [one.id for one in page]
    return ids
