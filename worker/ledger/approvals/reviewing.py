"""Queries for people who work through the review queue: their place, what is waiting where, and past decisions."""

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

from sqlalchemy import Select, bindparam, case, exists, func, select, text

from worker.generation import State
from worker.ledger.approvals.rows import COLUMNS, Approval, typed
from worker.ledger.database import Part
from worker.ledger.schema import ASKED, DECIDED, CleanText, approvals, attempts, batches, generations
from worker.ledger.statements import IDS, LIMIT, NOW, Query


class ReviewPlace(NamedTuple):
    """`waiting`: how many approvals wait for a person; `before`, `after`: the neighbors of this place, if any."""

    waiting: int
    before: str | None
    after: str | None
    first: str | None


class ReviewGroup(NamedTuple):
    """How many approvals of a batch or a recipe wait for a person. `id`: the batch's id, or the recipe's name."""

    id: str
    name: str
    waiting: int


class _Sent(NamedTuple):
    parent_id: str
    step: str


_a, _g, _b = approvals.c, generations.c, batches.c
_AT = bindparam("at", type_=CleanText())
_OF_PEOPLE = (text(f"approvals.{ASKED}"), _a.task.is_(None), _a.expires_at > NOW)
_NUMBER = func.count().label("waiting")
_IN_BATCHES = Query(
    ReviewGroup,
    select(_b.id, _b.name, _NUMBER)
    .join_from(approvals, batches, _b.id == _a.batch_id)
    .where(*_OF_PEOPLE)
    .group_by(_b.id, _b.name)
    .order_by(_b.id.desc())
    .limit(LIMIT),
)
_OF_RECIPES = Query(
    ReviewGroup,
    select(_g.recipe_name.label("id"), _g.recipe_name.label("name"), _NUMBER)
    .join_from(approvals, generations, _g.id == _a.generation_id)
    .where(*_OF_PEOPLE, _g.recipe_name.is_not(None))
    .group_by(_g.recipe_name)
    .order_by(_g.recipe_name)
    .limit(LIMIT),
)
_SENT = Query(
    _Sent,
    select(_g.parent_id, _g.step)
    .where(
        _g.parent_id.in_(IDS),
        _g.step.is_not(None),
        _g.state.not_in([State.QUEUED, State.CANCELLED]) | exists().where(attempts.c.generation_id == _g.id),
    )
    .distinct(),
)
_DECIDED = Query(
    Approval, select(*COLUMNS).where(text(DECIDED)).order_by(_a.decided_at.desc(), _a.id.desc()).limit(LIMIT)
)


class Reviewing(Part):
    def review_place(self, at: str, batch_id: str | None = None, recipe: str | None = None) -> ReviewPlace:
        """Return the place of `at` in the queue of people's decisions, oldest first, even if it no longer waits.

        `batch_id` and `recipe`, a recipe's name, restrict the queue.
        """
        query = _place(is_of_batch=batch_id is not None, is_of_recipe=recipe is not None)
        asked = {"at": at, "now": self._database.clock(), "batch": batch_id, "recipe": recipe}
        with self._database.read() as connection:
            (found,) = query.all(connection, **asked)
        return found

    def review_batches(self, limit: int) -> Sequence[ReviewGroup]:
        """Return the batches with approvals that wait for a person, newest first."""
        with self._database.read() as connection:
            return _IN_BATCHES.all(connection, limit=limit, now=self._database.clock())

    def review_recipes(self, limit: int) -> Sequence[ReviewGroup]:
        """Return the recipes with approvals that wait for a person, by name."""
        with self._database.read() as connection:
            return _OF_RECIPES.all(connection, limit=limit, now=self._database.clock())

    def sent_of(self, generation_ids: Sequence[str]) -> set[tuple[str, str]]:
        """Return each of these generations and its step with a follow-up that may have been sent."""
        with self._database.read() as connection:
            return {(row.parent_id, row.step) for row in _SENT.each(connection, generation_ids)}

    def decisions(self, limit: int) -> list[Approval]:
        """Return the latest decisions, including decisions by tasks and timeouts, newest first."""
        with self._database.read() as connection:
            return [typed(row) for row in _DECIDED.all(connection, limit=limit)]


@cache
def _place(*, is_of_batch: bool, is_of_recipe: bool) -> Query[ReviewPlace]:
    query: Select[*tuple[object, ...]] = select(
        func.count().label("waiting"),
        func.max(case((_a.id < _AT, _a.id))).label("before"),
        func.min(case((_a.id > _AT, _a.id))).label("after"),
        func.min(_a.id).label("first"),
    ).where(*_OF_PEOPLE)
    if is_of_batch:
        query = query.where(_a.batch_id == bindparam("batch", type_=CleanText()))
    if is_of_recipe:
        query = query.join_from(approvals, generations, _g.id == _a.generation_id)
        query = query.where(_g.recipe_name == bindparam("recipe", type_=CleanText()))
    return Query(ReviewPlace, query)
