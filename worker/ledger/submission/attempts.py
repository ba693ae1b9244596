"""What each change of an attempt has to mind, whoever makes it."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection

from worker.generation import ATTEMPT_MOVES, LIVE_ATTEMPTS, AttemptState, State
from worker.ledger.changes import Changes
from worker.ledger.moves import Machine
from worker.ledger.schema import attempts
from worker.ledger.statements import IDS, NOW, find_row

ATTEMPTS = Machine(attempts.c.state, ATTEMPT_MOVES)
# Its outcome is still asked for: it may have been paid for, and its picture may yet come.
_ABANDON = (
    ATTEMPTS.update_to(AttemptState.ABANDONED)
    .where(attempts.c.generation_id.in_(IDS))
    .values(settled_at=NOW, poll_at=NOW, polls=0)
)


def move_attempt(connection: Connection, attempt_id: str, to: AttemptState, **values: Any) -> bool:
    """Move an attempt and set `values` with it; False when its state does not allow that any more.

    Once its outcome is known it is asked for no more, unless `poll_at` says when.
    """
    if to not in LIVE_ATTEMPTS:
        values.setdefault("poll_at", None)
    return ATTEMPTS.move(connection, {"id": attempt_id}, to, **values) == 1


def task_id_taken(connection: Connection, attempt: Any, task_id: str) -> bool:
    """Whether another attempt at this provider has this task_id already."""
    owner = find_row(connection, attempts, provider=attempt.provider, task_id=task_id)
    return owner is not None and owner.id != attempt.id


def submit_again(changes: Changes, generation_ids: Sequence[str], cause: str) -> None:
    """The old attempts are given up for good: from now on the database allows new ones."""
    if not generation_ids:
        return
    changes.connection.execute(_ABANDON, {"ids": list(generation_ids), "now": changes.at})
    anew = ("dispatched_at", "account", "not_before", "task_id", "progress", "finished_at", "reason", "message")
    changes.move_all(generation_ids, State.QUEUED, cause, **dict.fromkeys(anew))
    for generation_id in generation_ids:
        changes.reopen_batch_of(generation_id)
