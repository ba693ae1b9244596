"""The effect of moving a batch, as JSON."""

from typing import TYPE_CHECKING, Any

from worker.secrets import secrets_hidden

if TYPE_CHECKING:
    from tasks.usecases.batches.move import Moved


def of_moved_batch(one: "Moved") -> dict[str, Any]:
    return {
        "batch": one.batch_id,
        "moved": dict(one.moved),
        "left": dict(one.left),
        "inexpressible": [
            {
                "provider": it.provider,
                "reason": secrets_hidden(it.reason),
                "generations": it.number,
                "example": it.example,
            }
            for it in one.inexpressible
        ],
    }
