"""The effect of steering a batch, as JSON."""

from typing import TYPE_CHECKING, Any

from worker.generation import iso
from worker.pricing import as_text

if TYPE_CHECKING:
    from tasks.usecases.batches.steer import Steered


def of_steered(one: "Steered") -> dict[str, Any]:
    after = one.after
    return {
        "batch": after.id,
        "name": after.name,
        "action": one.action,
        "changed": one.is_changed,
        "done": dict(one.done),
        "left": dict(one.left),
        "under_way": one.under_way,
        "paused_at": iso(after.paused_at),
        "start_at": iso(after.start_at),
        "max_cost": None if after.max_cost is None else as_text(after.max_cost),
        "max_in_flight": after.max_in_flight,
        "notes": list(one.notes),
    }
