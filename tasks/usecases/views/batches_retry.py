"""A retried batch as JSON."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tasks.usecases.batches.retry import BatchRetried


def of_batch_retried(retried: "BatchRetried") -> dict[str, Any]:
    return {
        "batch": retried.batch_id,
        "retried": sum(retried.done.values()),
        "done": {str(state): number for state, number in retried.done.items()},
        "left": dict(retried.left),
    }
