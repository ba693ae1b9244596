"""Withdraws decisions: cancels the follow-ups that they created, and asks again."""

from typing import NamedTuple

from sqlalchemy import bindparam, exists, select

from worker.errors import NotPossible
from worker.generation import State, iso
from worker.ledger.approvals.rows import ONE, Approval, typed
from worker.ledger.asking import APPROVALS
from worker.ledger.changes import Changes
from worker.ledger.database import Part
from worker.ledger.schema import ApprovalState, CleanText, approvals, attempts, generations
from worker.ledger.statements import Query


class _Child(NamedTuple):
    id: str
    was_sent: bool


_g, _a = generations.c, approvals.c
# Follow-ups of a withdrawn decision no longer have a `dedupe`.
_CHILDREN = Query(
    _Child,
    select(_g.id, exists().where(attempts.c.generation_id == _g.id).label("was_sent"))
    .where(
        _g.parent_id == bindparam("parent", type_=CleanText()),
        _g.step == bindparam("made_by", type_=CleanText()),
        _g.dedupe.is_not(None),
    )
    .order_by(_g.id),
)
_TAKEN_BACK = (ApprovalState.DECIDED, ApprovalState.REJECTED)


class Reopening(Part):
    def reopen(self, approval: Approval, by: str) -> int:
        """Withdraw a decision and cancel its follow-ups in one transaction; return how many were cancelled.

        Raises NotPossible, and changes nothing, if a follow-up may have been sent, if the time to decide is over, or if
        the approval has changed since it was read.
        """
        now = self._database.clock()
        with self._database.write() as connection:
            changes = Changes(connection, now)
            mine = {"parent": approval.generation_id, "made_by": approval.step}
            children = [one.id for one in _CHILDREN.all(connection, **mine)]
            # A worker that is about to send one of these either holds its row or waits here until it is cancelled.
            changes.lock([approval.generation_id, *children])
            _require(ONE.first(connection, of=approval.id), approval, changes)
            for child in _CHILDREN.all(connection, **mine):
                if child.id not in children:
                    raise NotPossible(
                        f"approval {approval.id} has been decided again in the meantime: review it once more"
                    )
                _require_unsent(child, changes.state(child.id))
            for child_id in children:
                why = f"the decision was undone by {by}"
                # Remove its `dedupe`, so that the same decision can create it again.
                if not changes.move(child_id, State.CANCELLED, why, reason="cancelled", dedupe=None, not_before=None):
                    changes.updates.set(generations, child_id, {"state": State.CANCELLED}, {"dedupe": None})
            nothing = dict.fromkeys(("picked", "decided_at", "decided_by", "why"))
            APPROVALS.move(connection, {"id": approval.id}, ApprovalState.ASKED, **nothing)
            changes.reopen_batch_of(approval.generation_id)
            changes.flush()
        return len(children)


def _require(current: Approval | None, read: Approval, changes: Changes) -> None:
    if current is None or typed(current) != read or read.state not in _TAKEN_BACK:
        raise NotPossible(f"approval {read.id} is no longer decided, or has been decided again: review it once more")
    if current.expires_at <= changes.at:
        raise NotPossible(
            f"the time for {read.id} was over at {iso(read.expires_at)}, so nobody could decide it again: the decision "
            "stands"
        )
    if changes.state(read.generation_id) is State.DELETED:
        raise NotPossible(f"generation {read.generation_id} was deleted: nothing is left to decide")


def _require_unsent(child: _Child, state: State) -> None:
    if state in {State.QUEUED, State.CANCELLED} and not child.was_sent:
        return
    raise NotPossible(
        f"its follow-up {child.id} is {state} and may be paid for, so the decision stands: cancel what is still "
        "queued, or start what is missing from the generation itself"
    )
