"""The façade for approvals. A decision and its follow-ups are one transaction."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import bindparam, func, select, text, update

from worker.errors import NotFound, RequestInvalid
from worker.generation import Generation, Operation, State
from worker.ledger.approvals.reopening import Reopening
from worker.ledger.approvals.reviewing import Reviewing
from worker.ledger.approvals.rows import COLUMNS, ID, ONE, Approval, typed
from worker.ledger.asking import APPROVALS
from worker.ledger.changes import Changes
from worker.ledger.database import Part
from worker.ledger.generations import NewGeneration, create_within
from worker.ledger.schema import ASKED, UNSENT, WAITING, ApprovalState, CleanText, UtcDateTime, approvals, generations
from worker.ledger.statements import IDS, LIMIT, NOW, Query, columns_of, update_row


@dataclass(frozen=True, slots=True)
class Decided:
    """`is_new`: whether this call made the decision; if not, somebody else decided first, or the time was over.

    `created`: the number of follow-ups.
    """

    approval: Approval
    is_new: bool
    created: int = 0


class WaitingApproval(NamedTuple):
    """`task`: the Celery task that decides, None for a person."""

    generation_id: str
    task: str | None
    asked_at: datetime


class _Pending(NamedTuple):
    batch_id: str
    number: int


_a = approvals.c
_OF_GENERATION = Query(Approval, select(*COLUMNS).where(_a.generation_id == ID).order_by(_a.id))
_PENDING = Query(
    Approval,
    select(*COLUMNS).where(text(ASKED), _a.id > bindparam("after", type_=CleanText())).order_by(_a.id).limit(LIMIT),
)
_ALL_WAITING = select(*columns_of(approvals, WaitingApproval)).where(text(ASKED))
_WAITING = Query(WaitingApproval, _ALL_WAITING.order_by(_a.id).limit(LIMIT))
_WAITING_IN_BATCH = Query(WaitingApproval, _ALL_WAITING.where(_a.batch_id == bindparam("batch", type_=CleanText())))
_WAITING_OF = Query(WaitingApproval, _ALL_WAITING.where(_a.generation_id.in_(IDS)))
_COUNT_OF_BATCH = select(func.count()).where(_a.batch_id == bindparam("batch", type_=CleanText()), text(ASKED))
_COUNT_OF_BATCHES = Query(
    _Pending,
    select(_a.batch_id, func.count().label("number")).where(_a.batch_id.in_(IDS), text(ASKED)).group_by(_a.batch_id),
)
OVERDUE = select(_a.id).where(text(ASKED), _a.expires_at <= NOW)
_OVERDUE = Query(Approval, OVERDUE.with_only_columns(*COLUMNS).order_by(_a.expires_at).limit(LIMIT))
#: approvals whose task has not been sent yet
UNASKED = select(_a.id).where(text(UNSENT))
_UNSENT = Query(Approval, UNASKED.with_only_columns(*COLUMNS).order_by(_a.id).limit(LIMIT))
# Splits are not held: they need no provider.
_HOLD = (
    update(generations)
    .where(
        generations.c.parent_id == bindparam("parent", type_=CleanText()),
        generations.c.step == bindparam("made_by", type_=CleanText()),
        generations.c.operation != Operation.SPLIT,
        generations.c.not_before.is_(None),
        text(WAITING),
    )
    .values(not_before=bindparam("until", type_=UtcDateTime()))
)


class Approvals(Reopening, Reviewing, Part):
    def get(self, approval_id: str) -> Approval:
        """Return an approval. Raises NotFound."""
        with self._database.read() as connection:
            row = ONE.first(connection, of=approval_id)
        if row is None:
            raise NotFound(f"there is no approval {approval_id!r}")
        return typed(row)

    def of_generation(self, generation_id: str) -> list[Approval]:
        """Return all approvals of a generation, oldest first."""
        with self._database.read() as connection:
            return [typed(row) for row in _OF_GENERATION.all(connection, of=generation_id)]

    def pending(self, limit: int, after: str = "") -> list[Approval]:
        """Return undecided approvals, oldest first."""
        with self._database.read() as connection:
            return [typed(row) for row in _PENDING.all(connection, limit=limit, after=after)]

    def waiting(self, limit: int) -> list[WaitingApproval]:
        """Return the decisions that generations wait for, oldest first."""
        with self._database.read() as connection:
            return list(_WAITING.all(connection, limit=limit))

    def waiting_in_batch(self, batch_id: str) -> list[WaitingApproval]:
        """Return the decisions that a batch waits for."""
        with self._database.read() as connection:
            return _WAITING_IN_BATCH.all(connection, batch=batch_id)

    def waiting_of(self, generation_ids: Sequence[str]) -> list[WaitingApproval]:
        """Return the decisions that these generations wait for."""
        with self._database.read() as connection:
            return _WAITING_OF.each(connection, generation_ids)

    def count_pending(self, batch_id: str) -> int:
        """Return how many decisions a batch waits for."""
        with self._database.read() as connection:
            return connection.execute(_COUNT_OF_BATCH, {"batch": batch_id}).scalar_one()

    def count_pending_of(self, batch_ids: Sequence[str]) -> dict[str, int]:
        """Return how many decisions each batch waits for; batches that wait for none are left out."""
        with self._database.read() as connection:
            return {row.batch_id: row.number for row in _COUNT_OF_BATCHES.each(connection, batch_ids)}

    def overdue(self, limit: int) -> list[Approval]:
        """Return approvals that nobody decided in time."""
        with self._database.read() as connection:
            return [typed(row) for row in _OVERDUE.all(connection, limit=limit, now=self._database.clock())]

    def unsent(self, limit: int) -> list[Approval]:
        """Return approvals whose Celery task has not been sent yet."""
        with self._database.read() as connection:
            return [typed(row) for row in _UNSENT.all(connection, limit=limit)]

    def note_sent(self, approval_id: str) -> None:
        """Record that the Celery task of an approval was sent: tasks are sent at least once."""
        with self._database.write() as connection:
            mine = {"id": approval_id, "state": ApprovalState.ASKED}
            update_row(connection, approvals, mine, sent_at=self._database.clock())

    def decide(
        self,
        approval: Approval,
        to: ApprovalState,
        *,
        parent: Generation,
        picked: Sequence[int],
        by: str,
        why: str,
        children: Sequence[NewGeneration] = (),
        refused: Sequence[str] = (),
        most: int | None = None,
        is_overdue: bool = False,
        held_for: timedelta = timedelta(),
    ) -> Decided:
        """Decide an approval and create its follow-ups, unless somebody else decided first.

        `refused`: why other follow-ups are missing; `most`: as in `create_follow_ups`; `is_overdue`: the time is over
        and nobody has decided; `held_for`: how long the follow-ups wait before they may be submitted, so that `reopen`
        can cancel them. Raises RequestInvalid if there are follow-ups and the parent has been deleted.
        """
        now = self._database.clock()
        created = 0
        with self._database.write() as connection:
            changes = Changes(connection, now)
            changes.lock([parent.id])
            if children and changes.state(parent.id) is State.DELETED:
                raise RequestInvalid(f"{parent.id} was deleted: nothing can follow it")
            facts = {"picked": list(picked), "decided_at": now, "decided_by": by, "why": why or None}
            is_allowed = is_overdue or now < approval.expires_at
            is_new = is_allowed and APPROVALS.move(connection, {"id": approval.id}, to, **facts) == 1
            if is_new:
                created, more = create_within(changes, parent, children, most)
                if created and held_for:
                    mine = {"parent": parent.id, "made_by": approval.step, "until": now + held_for}
                    connection.execute(_HOLD, mine)
                for reason in (*refused, *more):
                    changes.event("follow_up.refused", generation_id=parent.id, batch_id=parent.batch_id, reason=reason)
                changes.look_at_batch(parent.batch_id)
                changes.flush()
            row = ONE.first(connection, of=approval.id)
            assert row is not None, "approvals are never deleted alone"  # noqa: S101
        return Decided(typed(row), is_new, created)
