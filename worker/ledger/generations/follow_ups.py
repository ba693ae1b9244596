"""Follow-ups, which are created in the transaction that marks their parent as followed up."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import bindparam, case, select, text, update

from worker.generation import OPEN, Generation, State
from worker.ledger.asking import NewApproval, ask
from worker.ledger.changes import Changes
from worker.ledger.database import Part
from worker.ledger.generations.creation import insert_generations
from worker.ledger.generations.new_generation import NewGeneration
from worker.ledger.rows import GENERATION, GenerationRow, to_generation
from worker.ledger.schema import (
    FOLLOW_UP_DUE,
    FOLLOW_UP_REFUSED,
    RECIPE_DUE,
    ApprovalState,
    CleanText,
    approvals,
    generations,
)
from worker.ledger.statements import LIMIT, NOW, Query, columns_of
from worker.recipes import After

#: after this many tries, a parent whose follow-ups cannot be created is set aside for a person
MAX_TRIES = 5
_FIRST_WAIT = timedelta(seconds=10)
#: the longest wait between two tries
LONGEST_WAIT = _FIRST_WAIT * 2 ** (MAX_TRIES - 1)


@dataclass(frozen=True, slots=True)
class DueSteps:
    """A generation for which steps of its recipe are due, and the moment that makes them due."""

    generation: Generation
    moment: After


class _Refused(NamedTuple):
    id: str
    follow_up: Sequence[str]
    follow_up_error: str
    followed_up_at: datetime


class _Child(NamedTuple):
    dedupe: str | None
    step: str | None


_g = generations.c
DUE = select(*GENERATION).where(
    text(FOLLOW_UP_DUE), _g.follow_up_not_before.is_(None) | (_g.follow_up_not_before <= NOW)
)
_NEXT = Query(GenerationRow, DUE.order_by(_g.batch_id).limit(LIMIT))
#: the moment of a recipe → the column for when its steps were done, and the states in which they are due
_MARKS: Mapping[After, tuple[str, tuple[State, ...]]] = {
    After.FAILED: ("followed_failure_at", (State.FAILED,)),
    After.SUCCEEDED: ("followed_success_at", (State.SUCCEEDED, State.ARCHIVED, State.EXPIRED)),
    After.ARCHIVED: ("followed_archive_at", (State.ARCHIVED,)),
}
RECIPES_DUE = select(*GENERATION).where(
    text(RECIPE_DUE), _g.follow_up_not_before.is_(None) | (_g.follow_up_not_before <= NOW)
)
_NEXT_STEPS = {
    moment: Query(
        GenerationRow,
        RECIPES_DUE.where(_g.state.in_(states), _g[mark].is_(None)).order_by(_g.batch_id).limit(LIMIT),
    )
    for moment, (mark, states) in _MARKS.items()
}
_CHILDREN = Query(_Child, select(_g.dedupe, _g.step).where(_g.parent_id == bindparam("of", type_=CleanText())))
_REFUSED = Query(
    _Refused,
    select(*columns_of(generations, _Refused)).where(text(FOLLOW_UP_REFUSED)).order_by(_g.id.desc()).limit(LIMIT),
)


@dataclass(frozen=True, slots=True)
class RefusedFollowUp:
    """Follow-ups of a generation that could not be created in any try."""

    generation_id: str
    follow_up: tuple[str, ...]
    error: str
    at: datetime


class Followed(NamedTuple):
    """What follows some generations. `recipe`: its hash, None for the short form; `step`: the step that made them."""

    provider: str
    recipe: str | None
    step: str | None
    follow_up: Sequence[str]


_STILL_FOLLOWED = Query(
    Followed,
    select(*columns_of(generations, Followed))
    .where(
        _g.recipe.is_not(None) | (_g.follow_up != []),
        _g.state.in_(bindparam("open", expanding=True))
        | text(f"({FOLLOW_UP_DUE})")
        | text(f"({RECIPE_DUE})")
        | _g.id.in_(select(approvals.c.generation_id).where(approvals.c.state == ApprovalState.ASKED)),
    )
    .distinct(),
)


class FollowUps(Part):
    def due_follow_ups(self, limit: int) -> list[Generation]:
        """Return archived generations whose follow-ups are due."""
        with self._database.read() as connection:
            rows = _NEXT.all(connection, limit=limit, now=self._database.clock())
        return [to_generation(row) for row in rows]

    def due_steps(self, limit: int) -> list[DueSteps]:
        """Return generations for which steps of their recipe are due."""
        now = self._database.clock()
        with self._database.read() as connection:
            return [
                DueSteps(to_generation(row), moment)
                for moment, query in _NEXT_STEPS.items()
                for row in query.all(connection, limit=limit, now=now)
            ]

    def still_to_be_followed(self, *, with_queued: bool) -> list[Followed]:
        """Return what is still to follow generations, each kind once. Reads the whole ledger."""
        goes_on = sorted(OPEN if with_queued else OPEN - {State.QUEUED})
        with self._database.read() as connection:
            return _STILL_FOLLOWED.all(connection, open=goes_on)

    def create_follow_ups(
        self,
        parent: Generation,
        children: Sequence[NewGeneration],
        refused: Sequence[str],
        approvals: Sequence[NewApproval] = (),
        *,
        moment: After = After.ARCHIVED,
        most: int | None = None,
    ) -> int:
        """Create follow-ups and mark the parent; return 0 if another worker has done so or they are no longer due.

        `refused`: why other follow-ups are missing; `moment`: of the steps that made them; `most`: the most children
        that the parent may have from all steps; any more are refused.
        """
        now = self._database.clock()
        mark, states = _MARKS[moment]
        if parent.recipe is None:
            mark = "followed_up_at"
        with self._database.write() as connection:
            changes = Changes(connection, now)
            marked = connection.execute(
                update(generations)
                # The parent may have been deleted since it was read, or have succeeded after all.
                .where(_g.id == parent.id, _g[mark].is_(None), _g.state.in_(states))
                .values({mark: now, "follow_up_error": None, "follow_up_tries": 0, "follow_up_not_before": None})
            )
            if marked.rowcount != 1:
                return 0
            created, more = create_within(changes, parent, children, most)
            ask(changes, parent, approvals)
            for reason in (*refused, *more):
                changes.event("follow_up.refused", generation_id=parent.id, batch_id=parent.batch_id, reason=reason)
            changes.look_at_batch(parent.batch_id)
            changes.flush()
        return created

    def record_follow_up_failure(self, parent: Generation, error: str) -> bool:
        """Record why follow-ups could not be created; return True after the last try, which makes a dead letter."""
        now = self._database.clock()
        with self._database.write() as connection:
            changes = Changes(connection, now)
            is_due = FOLLOW_UP_DUE if parent.recipe is None else RECIPE_DUE
            mine = update(generations).where(_g.id == parent.id, text(is_due))
            # With an error, those of a recipe would count as abandoned.
            why = {"follow_up_error": error} if parent.recipe is None else {}
            tried = mine.values(follow_up_tries=_g.follow_up_tries + 1, **why)
            tries = connection.execute(tried.returning(_g.follow_up_tries)).scalar()
            if tries is None:
                return False
            if tries < MAX_TRIES:
                connection.execute(mine.values(follow_up_not_before=now + _FIRST_WAIT * 2**tries))
                return False
            marks = ["followed_up_at"] if parent.recipe is None else [mark for mark, _ in _MARKS.values()]
            connection.execute(mine.values({**dict.fromkeys(marks, now), "follow_up_error": error}))
            changes.event("follow_up.refused", generation_id=parent.id, batch_id=parent.batch_id, reason=error)
            changes.look_at_batch(parent.batch_id)
            changes.flush()
        return True

    def refused_follow_ups(self, limit: int) -> list[RefusedFollowUp]:
        """Return follow-ups that are dead letters, newest first."""
        with self._database.read() as connection:
            rows = _REFUSED.all(connection, limit=limit)
        return [RefusedFollowUp(row.id, tuple(row.follow_up), row.follow_up_error, row.followed_up_at) for row in rows]

    def retry_follow_ups(self, generation_id: str) -> bool:
        """Retry creating a generation's follow-ups, from the first try; return False if they are not dead."""
        fresh = {"follow_up_tries": 0, "follow_up_error": None, "follow_up_not_before": None}
        with self._database.write() as connection:
            changes = Changes(connection, self._database.clock())
            changes.lock([generation_id])
            mine = update(generations).where(_g.id == generation_id, text(FOLLOW_UP_REFUSED))
            again = {
                "followed_up_at": case((_g.recipe.is_(None), None), else_=_g.followed_up_at),
                **{mark: case((_g.recipe.is_(None), _g[mark]), else_=None) for mark, _ in _MARKS.values()},
            }
            if connection.execute(mine.values({**again, **fresh})).rowcount != 1:
                return False
            changes.reopen_batch_of(generation_id)
            changes.flush()
        return True


def create_within(
    changes: Changes, parent: Generation, children: Sequence[NewGeneration], most: int | None
) -> tuple[int, list[str]]:
    """Create as many follow-ups as the parent may have; return how many, and why others were refused.

    Existing ones are left unchanged. The caller has locked the parent.
    """
    if not children:
        return 0, []
    wanted = {one.dedupe for one in children}
    own = _CHILDREN.all(changes.connection, of=parent.id)
    known = {child.dedupe for child in own} & wanted - {None}
    new = [one for one in children if one.dedupe not in known]
    room = len(new)
    if most is not None:
        # Neither follow-ups that a person requested nor withdrawn ones count: the latter no longer have a `dedupe`.
        room = max(0, most - sum(_counts(child) or child.dedupe in known for child in own))
    insert_generations(changes.connection, changes, new[:room], None)
    names = (one.step or one.request.action or one.request.operation for one in new[room:])
    return len(new[:room]), [f"{name} would be more than the {most} follow-ups allowed" for name in names]


def _counts(child: _Child) -> bool:
    return child.step is not None and child.dedupe is not None
