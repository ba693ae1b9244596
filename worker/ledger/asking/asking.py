"""Asks for the decisions that recipe steps wait for."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import bindparam

from worker.generation import Generation, iso
from worker.ledger.changes import Changes, new_id
from worker.ledger.moves import Machine
from worker.ledger.schema import APPROVAL_MOVES, ApprovalState, UtcDateTime, approvals
from worker.ledger.statements import IDS, insert_ignoring

APPROVALS = Machine(approvals.c.state, APPROVAL_MOVES)
_WITHDRAW = (
    APPROVALS.update_to(ApprovalState.REJECTED)
    .where(approvals.c.generation_id.in_(IDS))
    .values(picked=[], decided_at=bindparam("at", type_=UtcDateTime()), decided_by=bindparam("by"))
)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewApproval:
    """`images`: the numbers to choose from; `task`, `queue`: the Celery task that picks, None for a person."""

    step: str
    images: tuple[int, ...]
    timeout: timedelta
    task: str | None = None
    queue: str | None = None


def ask(changes: Changes, parent: Generation, wanted: Sequence[NewApproval]) -> None:
    """Record the approvals with their events; one that already exists stays as it is."""
    for one in wanted:
        row = {
            "id": new_id("apr", changes.at),
            "generation_id": parent.id,
            "batch_id": parent.batch_id,
            "step": one.step,
            "state": ApprovalState.ASKED,
            "task": one.task,
            "queue": one.queue,
            "images": one.images,
            "asked_at": changes.at,
            "expires_at": changes.at + one.timeout,
        }
        is_new = changes.connection.execute(insert_ignoring(changes.connection, approvals), row).rowcount == 1
        if is_new and one.task is None:
            changes.event(
                "generation.needs_approval",
                generation_id=parent.id,
                batch_id=parent.batch_id,
                approval=row["id"],
                step=one.step,
                images=list(one.images),
                expires_at=iso(changes.at + one.timeout),
            )


def withdraw(changes: Changes, generation_ids: Sequence[str], by: str) -> int:
    """Reject the open approvals of these generations, which the caller has locked; return how many there were."""
    done = changes.connection.execute(_WITHDRAW, {"ids": list(generation_ids), "at": changes.at, "by": by})
    return done.rowcount
