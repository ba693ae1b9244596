"""Unconfirmed submissions: the known facts, and decisions of a person."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from sqlalchemy import bindparam, case, func, literal_column, select, text

from worker.errors import NotFound, RequestInvalid
from worker.generation import AttemptState, Generation, State
from worker.ledger.changes import Changes, Person, lock_known
from worker.ledger.database import Part
from worker.ledger.rows import GENERATION, GenerationRow, to_generation
from worker.ledger.schema import (
    BY_STATE,
    LIVE,
    UNAPPLIED,
    CleanText,
    UtcDateTime,
    attempts,
    callbacks,
    generations,
    storable,
)
from worker.ledger.statements import IDS, LIMIT, Query, columns_of
from worker.ledger.submission.attempts import Attempt, Attempts, submit_again


class _Attempt(NamedTuple):
    id: str
    generation_id: str
    provider: str
    account: str
    state: str
    error: str | None
    sent_at: datetime
    poll_at: datetime | None
    polls: int
    candidates: Sequence[str] | None


class _Callback(NamedTuple):
    attempt_id: str
    verdict: str | None


_a, _c, _g = attempts.c, callbacks.c, generations.c
_UNCONFIRMED = select(*GENERATION).where(literal_column(BY_STATE, CleanText) == State.UNCONFIRMED).order_by(_g.id)
_ATTEMPTS = Query(_Attempt, select(*columns_of(attempts, _Attempt)).where(text(LIVE), _a.generation_id.in_(IDS)))


class _Ages(NamedTuple):
    older: int | None
    oldest: datetime | None


_FIRST = (
    select(_g.id)
    .where(literal_column(BY_STATE, CleanText) == State.UNCONFIRMED)
    .order_by(_g.id)
    .limit(LIMIT)
    .subquery()
)
_is_older = case((_a.sent_at < bindparam("before", type_=UtcDateTime()), 1), else_=0)
_AGES = Query(
    _Ages,
    select(func.sum(_is_older).label("older"), func.min(_a.sent_at).label("oldest"))
    .select_from(_FIRST)
    .join(attempts, (_a.generation_id == _FIRST.c.id) & text(f"attempts.{LIVE}")),
)
_CALLBACKS = Query(_Callback, select(_c.attempt_id, _c.verdict).where(_c.attempt_id.in_(IDS)).order_by(_c.id))


class Decision(StrEnum):
    CHARGED = "charged"
    NOT_CHARGED = "not charged"
    RESUBMIT = "resubmit"


@dataclass(frozen=True, slots=True, kw_only=True)
class Unclear:
    """An unconfirmed submission. `asked`: how often it was searched; `callbacks`: the verdict on each.

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


class UnconfirmedAges(NamedTuple):
    """`older`: how many were sent before a given time; `oldest`: when the first was sent, None if there is none."""

    older: int
    oldest: datetime | None


class Unconfirmed(Part):
    def unconfirmed_ages(self, before: datetime, most: int) -> UnconfirmedAges:
        """Return the ages of the unconfirmed; considers only the `most` created first."""
        with self._database.read() as connection:
            found = _AGES.first(connection, before=before, limit=most)
        return UnconfirmedAges(int(found.older or 0), found.oldest) if found else UnconfirmedAges(0, None)

    def unconfirmed(self, provider: str | None = None, limit: int | None = None) -> list[Unclear]:
        """Return the unconfirmed, oldest first; a few index look-ups, however large the ledger is."""
        query = _UNCONFIRMED if provider is None else _UNCONFIRMED.where(_g.provider == provider)
        if limit is not None:
            query = query.limit(limit)
        with self._database.read() as connection:
            rows = Query(GenerationRow, query).all(connection)
            live = {row.generation_id: row for row in _ATTEMPTS.each(connection, [row.id for row in rows])}
            came: defaultdict[str, list[str]] = defaultdict(list)
            for one in _CALLBACKS.each(connection, [attempt.id for attempt in live.values()]):
                came[one.attempt_id].append(one.verdict or "not applied yet")
        return [
            Unclear(
                generation=to_generation(row),
                attempt_id=attempt.id,
                sent_at=attempt.sent_at,
                error=attempt.error,
                asked=attempt.polls,
                asked_again_at=attempt.poll_at,
                callbacks=tuple(came[attempt.id]),
                candidates=tuple(attempt.candidates or ()),
            )
            for row in rows
            if (attempt := live.get(row.id)) is not None
        ]

    def resolve(
        self,
        generation_ids: Sequence[str],
        decision: Decision,
        person: Person,
        task_id: str | None = None,
        *,
        attempt_id: str | None = None,
    ) -> None:
        """Apply a person's decision to unconfirmed generations: to all of them, or to none.

        CHARGED with a `task_id` (for one generation) links that task; without one there is no result to wait for.
        `attempt_id`: only this submission is meant, not a later one. Raises NotFound, or RequestInvalid
        for one that is not unconfirmed, another submission, or a task_id that belongs to another attempt.
        """
        with self._database.write() as connection:
            changes = Changes(connection, self._database.clock())
            lock_known(changes, generation_ids)
            live = {row.generation_id: row.id for row in _ATTEMPTS.each(connection, generation_ids)}
            tries = Attempts(changes, live.values())
            for generation_id in dict.fromkeys(generation_ids):
                attempt = tries[live[generation_id]] if generation_id in live else None
                if attempt is not None and attempt_id not in {None, attempt.id}:
                    raise RequestInvalid(
                        f"{generation_id} has changed since this was decided: it was submitted again; review it once "
                        "more; nothing was changed"
                    )
                _resolve(tries, generation_id, attempt, (decision, task_id and storable(task_id)), person)
            changes.flush()


def _resolve(
    tries: Attempts, generation_id: str, attempt: Attempt | None, decided: tuple[Decision, str | None], person: Person
) -> None:
    changes, (decision, task_id) = tries.changes, decided
    state = changes.state(generation_id)
    if state is not State.UNCONFIRMED:
        raise RequestInvalid(f"{generation_id} is {state}, not unconfirmed: nothing to decide; nothing was changed")
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
        _decide(tries, attempt, AttemptState.REJECTED, settled_at=changes.at)
        changes.move(generation_id, State.FAILED, cause, reason="not_charged", message=cause)
    elif task_id is None:
        # Neither failed nor succeeded: it was charged and has no result.
        _decide(tries, attempt, AttemptState.CHARGED, settled_at=changes.at)
        changes.move(generation_id, State.FAILED, cause, reason="charged_without_result", message=cause)
    else:
        tries.look_up([(attempt.id, task_id)])
        if tries.is_taken(attempt.id, task_id):
            raise RequestInvalid(f"task {task_id} already belongs to another generation; nothing was changed")
        _decide(tries, attempt, AttemptState.ACCEPTED, task_id=task_id, poll_at=changes.at, polls=0)
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


def _decide(tries: Attempts, attempt: Attempt, to: AttemptState, **values: object) -> None:
    if not tries.move(attempt.id, to, **values):
        raise RequestInvalid(
            f"the submission of {attempt.generation_id} is already {attempt.state}: nothing to decide; "
            "nothing was changed"
        )
