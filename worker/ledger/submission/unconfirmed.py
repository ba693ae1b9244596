"""Unconfirmed submissions: the known facts, and decisions of a person."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import literal_column, select, text

from worker.errors import NotFound, RequestInvalid
from worker.generation import AttemptState, Generation, State
from worker.ledger.changes import Changes, Person, lock_known
from worker.ledger.database import Part
from worker.ledger.rows import to_generation
from worker.ledger.schema import BY_STATE, LIVE, UNAPPLIED, CleanText, attempts, callbacks, generations, storable
from worker.ledger.statements import IDS, select_in
from worker.ledger.submission.attempts import move_attempt, submit_again, task_id_taken

_a, _c, _g = attempts.c, callbacks.c, generations.c
_UNCONFIRMED = select(generations).where(literal_column(BY_STATE, CleanText) == State.UNCONFIRMED).order_by(_g.id)
_ATTEMPTS = select(attempts).where(text(LIVE), _a.generation_id.in_(IDS))
_CALLBACKS = select(_c.attempt_id, _c.verdict).where(_c.attempt_id.in_(IDS)).order_by(_c.id)


class Decision(StrEnum):
    CHARGED = "charged"
    NOT_CHARGED = "not charged"
    RESUBMIT = "resubmit"


@dataclass(frozen=True, slots=True)
class Unclear:
    """An unconfirmed submission: `asked`: how often it was searched; `callbacks`: the verdict on each.

    `candidates`: tasks in the provider's list that may be it.
    """

    generation: Generation
    attempt_id: str
    sent_at: datetime
    error: str | None
    asked: int
    asked_again_at: datetime | None
    callbacks: tuple[str, ...]
    candidates: tuple[str, ...]


class Unconfirmed(Part):
    def unconfirmed(self, provider: str | None = None) -> list[Unclear]:
        """Return the unconfirmed, oldest first; a few index look-ups, however large the ledger is."""
        query = _UNCONFIRMED if provider is None else _UNCONFIRMED.where(_g.provider == provider)
        with self._database.read() as connection:
            rows = connection.execute(query).all()
            live = {row.generation_id: row for row in select_in(connection, _ATTEMPTS, [row.id for row in rows])}
            came: defaultdict[str, list[str]] = defaultdict(list)
            for row in select_in(connection, _CALLBACKS, [attempt.id for attempt in live.values()]):
                came[row.attempt_id].append(row.verdict or "not applied yet")
        return [
            Unclear(to_generation(row), attempt.id, attempt.sent_at, attempt.error, attempt.polls, attempt.poll_at,
                    tuple(came[attempt.id]), tuple(attempt.candidates or ()))
            for row in rows
            if (attempt := live.get(row.id)) is not None
        ]  # fmt: skip

    def resolve(
        self, generation_ids: Sequence[str], decision: Decision, person: Person, task_id: str | None = None
    ) -> None:
        """Apply a person's decision to unconfirmed generations: all of them, or none.

        CHARGED with a `task_id` (for one generation) links that task; without one there is no result to wait for.
        Raises NotFound, or RequestInvalid for one that is not unconfirmed or a task_id that belongs to another attempt.
        """
        with self._database.write() as connection:
            changes = Changes(connection, self._database.clock())
            lock_known(changes, generation_ids)
            for generation_id in dict.fromkeys(generation_ids):
                _resolve(changes, generation_id, decision, person, task_id and storable(task_id))
            changes.flush()


def _resolve(changes: Changes, generation_id: str, decision: Decision, person: Person, task_id: str | None) -> None:
    state = changes.state(generation_id)
    if state is not State.UNCONFIRMED:
        raise RequestInvalid(f"{generation_id} is {state}, not unconfirmed: nothing to decide; nothing was changed")
    attempt = changes.connection.execute(
        select(attempts).where(_a.generation_id == generation_id, text(LIVE))
    ).one_or_none()
    if attempt is None:
        raise NotFound(f"{generation_id} has no unconfirmed submission; see `darkroom show {generation_id}`")
    waiting = select(_c.id).where(_c.attempt_id == attempt.id, text(UNAPPLIED))
    if changes.connection.execute(waiting).first():
        raise RequestInvalid(
            f"a callback for {generation_id} has just arrived: wait until it is processed; nothing was changed"
        )
    said = decision if task_id is None else f"{decision}, task {task_id}"
    cause = f"resolved by {person.name}: {said}{f' ({person.why})' if person.why else ''}"
    facts = {"decision": decision, "by": person.name, "why": person.why, "task_id": task_id}
    changes.event("generation.resolved", generation_id=generation_id, attempt=attempt.id, **facts)
    if decision is Decision.RESUBMIT:
        submit_again(changes, [generation_id], cause)
    elif decision is Decision.NOT_CHARGED:
        _decide(changes, attempt, AttemptState.REJECTED, settled_at=changes.at)
        changes.move(generation_id, State.FAILED, cause, reason="not_charged", message=cause)
    elif task_id is None:
        # Neither failed nor succeeded: it is paid for, and there is nothing to show for it.
        _decide(changes, attempt, AttemptState.CHARGED, settled_at=changes.at)
        changes.move(generation_id, State.FAILED, cause, reason="charged_without_result", message=cause)
    elif task_id_taken(changes.connection, attempt, task_id):
        raise RequestInvalid(f"task {task_id} already belongs to another generation; nothing was changed")
    else:
        _decide(changes, attempt, AttemptState.ACCEPTED, task_id=task_id, poll_at=changes.at, polls=0)
        changes.move(
            generation_id,
            State.SUBMITTED,
            cause,
            task_id=task_id,
            account=attempt.account,
            submitted_at=changes.at,
            reason=None,
            message=None,
        )


def _decide(changes: Changes, attempt: Any, to: AttemptState, **values: Any) -> None:
    if not move_attempt(changes.connection, attempt.id, to, **values):
        raise RequestInvalid(
            f"the submission of {attempt.generation_id} is already {attempt.state}: nothing to decide; "
            "nothing was changed"
        )
