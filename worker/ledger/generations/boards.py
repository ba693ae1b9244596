"""The status of many batches, for polling: a few statements for all of them, however large they are."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import ScalarSelect, Select, bindparam, case, func, select, text, union_all

from worker.failures import Category, category_of
from worker.generation import OPEN, Generation, State
from worker.ledger.database import Part
from worker.ledger.rows import GENERATION, GenerationRow, to_generation
from worker.ledger.schema import WITH_RESULTS, UtcDateTime, batches, generations
from worker.ledger.statements import IDS, LIMIT, Query


@dataclass(frozen=True, slots=True)
class EndedLately:
    """How many generations of each batch got their results since `since`."""

    since: datetime
    numbers: Mapping[str, int]


class FailedOf(NamedTuple):
    """`lately`: how many of the `number` failed since a given time."""

    batch_id: str
    category: Category
    reason: str
    number: int
    lately: int


class _Ended(NamedTuple):
    batch_id: str | None
    number: int
    oldest: datetime


class _Edges(NamedTuple):
    first: str | None
    last: str | None


class _Failed(NamedTuple):
    batch_id: str
    state: str
    reason: str | None
    message: str | None
    number: int
    lately: int


_b, _g = batches.c, generations.c
_SINCE = bindparam("since", type_=UtcDateTime())
# Limited, however many end: the number in a shorter time says as much.
_lately = (
    select(_g.batch_id, _g.finished_at)
    .where(_g.finished_at >= _SINCE, text(WITH_RESULTS), _g.state != State.SUCCEEDED)
    .order_by(_g.finished_at.desc())
    .limit(LIMIT)
    .subquery()
)
_ENDED = Query(
    _Ended,
    select(_lately.c.batch_id, func.count().label("number"), func.min(_lately.c.finished_at).label("oldest")).group_by(
        _lately.c.batch_id
    ),
)
_is_new = case(((_g.state == State.FAILED) & (_g.finished_at >= _SINCE), 1), else_=0)
_FAILED = Query(
    _Failed,
    select(
        *(_g.batch_id, _g.state, _g.reason, _g.message),
        func.count().label("number"),
        func.sum(_is_new).label("lately"),
    )
    .where(_g.batch_id.in_(IDS), _g.state.in_([State.FAILED, State.EXPIRED, State.UNCONFIRMED]))
    .group_by(_g.batch_id, _g.state, _g.reason, _g.message),
)


def _first_and_last(state: State) -> Select[str, str]:
    def one(which: object) -> ScalarSelect[str]:
        # Each is one lookup in the index of batch and state.
        return select(which).where(_g.batch_id == _b.id, _g.state == state).scalar_subquery()  # type: ignore[call-overload,no-any-return]

    return select(one(func.min(_g.id)).label("first"), one(func.max(_g.id)).label("last")).where(_b.id.in_(IDS))


_EDGES = Query(_Edges, union_all(*map(_first_and_last, sorted(OPEN))))
_THESE = Query(GenerationRow, select(*GENERATION).where(_g.id.in_(IDS)).order_by(_g.id))


class Boards(Part):
    def ended_lately(self, since: datetime, most: int) -> EndedLately:
        """Count what was archived or expired since then; if more than `most`, only the last ones, in a shorter time."""
        with self._database.read() as connection:
            rows = _ENDED.all(connection, since=since, limit=most)
        if rows and sum(row.number for row in rows) >= most:
            since = min(row.oldest for row in rows)
        return EndedLately(since, {row.batch_id: row.number for row in rows if row.batch_id is not None})

    def failed_of_batches(self, batch_ids: Sequence[str], since: datetime) -> list[FailedOf]:
        """Count what failed, expired or is unconfirmed in each batch, by cause, and what failed since then."""
        numbers, lately = Counter[tuple[str, Category, str]](), Counter[tuple[str, Category, str]]()
        with self._database.read() as connection:
            rows = _FAILED.each(connection, batch_ids, since=since) if batch_ids else []
        for row in rows:
            if (category := category_of(State(row.state), row.reason, row.message)) is not None:
                key = row.batch_id, category, row.reason or row.state
                numbers[key] += row.number
                lately[key] += row.lately
        return [FailedOf(*key, number, lately[key]) for key, number in numbers.most_common()]

    def edges_of_batches(self, batch_ids: Sequence[str]) -> list[Generation]:
        """Return the oldest and newest of each batch in each non-final state: enough to tell why they wait."""
        if not batch_ids:
            return []
        with self._database.read() as connection:
            found = _EDGES.each(connection, batch_ids)
            ids = sorted({one for row in found for one in row if one is not None})
            return [to_generation(row) for row in _THESE.each(connection, ids)]
