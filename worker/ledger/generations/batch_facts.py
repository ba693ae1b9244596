"""What is known of a batch as a whole, without reading its generations."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, SupportsInt

from sqlalchemy import bindparam, func, select, text, union_all

from worker.errors import NotFound
from worker.generation import TEST_BATCH, State
from worker.ledger.database import Part
from worker.ledger.schema import (
    LATE,
    POSSIBLE,
    RESERVED,
    SPENT,
    WITH_RESULTS,
    BudgetKind,
    CleanText,
    UtcDateTime,
    batches,
    budgets,
    generation_counts,
    generation_deltas,
    generations,
)
from worker.ledger.statements import IDS, LIMIT, Query, columns_of


class BatchFacts(NamedTuple):
    """A batch, and how a person steers it. `max_cost`: in millionths."""

    id: str
    name: str
    created_at: datetime
    completed_at: datetime | None
    manifest_at: datetime | None
    unique_name: str | None
    source: str | None
    source_sha256: str | None
    paused_at: datetime | None
    start_at: datetime | None
    max_cost: int | None
    max_in_flight: int | None

    @property
    def is_test(self) -> bool:
        """Return whether the sandbox makes all of it."""
        return self.name.endswith(TEST_BATCH)


@dataclass(frozen=True, slots=True)
class BatchMoney:
    """In millionths. Known: paid, including late charges. Possible: outcome unknown. Reserved: in progress."""

    known: int = 0
    possible: int = 0
    reserved: int = 0

    @property
    def total(self) -> int:
        return self.known + self.possible + self.reserved


class Failure(NamedTuple):
    """How many generations are in this state for this reason."""

    state: str
    reason: str | None
    number: int


class _Count(NamedTuple):
    batch_id: str
    state: str
    #: PostgreSQL's sums are decimals
    total: SupportsInt


class _Budget(NamedTuple):
    batch_id: str
    spent: int
    late: int
    possible: int
    reserved: int


_b, _g, _n, _d, _u = batches.c, generations.c, generation_counts.c, generation_deltas.c, budgets.c
_BATCH, _SINCE = bindparam("batch", type_=CleanText()), bindparam("since", type_=UtcDateTime())
_FACTS = select(*columns_of(batches, BatchFacts)).where(_b.unfinished_at.is_(None))
_THIS = Query(BatchFacts, _FACTS.where(_b.id == _BATCH))
_NEWEST = Query(BatchFacts, _FACTS.order_by(_b.id.desc()).limit(LIMIT))
_NEXT = Query(
    BatchFacts, _FACTS.where(_b.id < bindparam("before", type_=CleanText())).order_by(_b.id.desc()).limit(LIMIT)
)
# One statement, so that nothing is folded between two looks.
_both = union_all(
    select(_n.batch_id, _n.state, _n.number).where(_n.batch_id.in_(IDS)),
    select(_d.batch_id, _d.state, _d.number).where(_d.batch_id.in_(IDS)),
).subquery()
_total = func.sum(_both.c.number)
_COUNTS = Query(
    _Count,
    select(_both.c.batch_id, _both.c.state, _total.label("total"))
    .group_by(_both.c.batch_id, _both.c.state)
    .having(_total != 0),
)
_MONEY = Query(
    _Budget,
    select(_u.batch_id, *(_u[state] for state in (SPENT, LATE, POSSIBLE, RESERVED))).where(
        _u.kind == BudgetKind.BATCH, _u.day == "", _u.provider == "", _u.batch_id.in_(IDS)
    ),
)
# By the times at which results came, of which there are few in a few minutes; what failed has no such index.
_ARCHIVED_SINCE = select(func.count()).where(
    _g.finished_at >= _SINCE, text(WITH_RESULTS), _g.batch_id == _BATCH, _g.state != State.SUCCEEDED
)
_FAILED_SINCE = select(func.count()).where(_g.batch_id == _BATCH, _g.state == State.FAILED, _g.finished_at >= _SINCE)
_FAILURES = Query(
    Failure,
    select(_g.state, _g.reason, func.count().label("number"))
    .where(_g.batch_id == _BATCH, _g.state.in_([State.FAILED, State.EXPIRED, State.UNCONFIRMED]))
    .group_by(_g.state, _g.reason),
)


class BatchReports(Part):
    def batch_facts(self, batch_id: str) -> BatchFacts:
        """Raises NotFound."""
        with self._database.read() as connection:
            found = _THIS.first(connection, batch=batch_id)
        if found is None:
            raise NotFound(f"there is no batch {batch_id}; `darkroom batch list` shows those that exist")
        return found

    def newest_batches(self, limit: int, before: str | None = None) -> list[BatchFacts]:
        """A page, the newest first; `before`: continue after this id."""
        with self._database.read() as connection:
            if before is None:
                return _NEWEST.all(connection, limit=limit)
            return _NEXT.all(connection, limit=limit, before=before)

    def counts_of_batches(self, batch_ids: Sequence[str]) -> Mapping[str, Mapping[State, int]]:
        """Generations per state, by batch."""
        found: defaultdict[str, dict[State, int]] = defaultdict(dict)
        with self._database.read() as connection:
            for row in _COUNTS.each(connection, batch_ids):
                found[row.batch_id][State(row.state)] = int(row.total)
        return found

    def money_of_batches(self, batch_ids: Sequence[str]) -> Mapping[str, BatchMoney]:
        """By batch; one without any charge is left out."""
        with self._database.read() as connection:
            rows = _MONEY.each(connection, batch_ids)
        return {row.batch_id: BatchMoney(row.spent + row.late, row.possible, row.reserved) for row in rows}

    def ended_since(self, batch_id: str, since: datetime) -> int:
        """How many of its generations were archived, expired or failed since then."""
        values = {"batch": batch_id, "since": since}
        with self._database.read() as connection:
            return sum(connection.execute(query, values).scalar_one() for query in (_ARCHIVED_SINCE, _FAILED_SINCE))

    def failures_of(self, batch_id: str) -> list[Failure]:
        """The most frequent first."""
        with self._database.read() as connection:
            found = Counter({row: row.number for row in _FAILURES.all(connection, batch=batch_id)})
        return [failure for failure, _ in found.most_common()]
