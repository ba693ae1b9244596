"""Facts about whole batches, without reading their generations."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import bindparam, func, select, text

from worker.errors import NotFound
from worker.generation import TEST_BATCH, State
from worker.ledger.batch_sums import BatchMoney, counts_of_batches, money_of_batches
from worker.ledger.database import Part
from worker.ledger.schema import WITH_RESULTS, CleanText, UtcDateTime, batches, generations
from worker.ledger.statements import LIMIT, Query, columns_of


class BatchFacts(NamedTuple):
    """A batch, and how people steer it. `max_cost`: in millionths."""

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
        """Return whether the sandbox makes the whole batch."""
        return self.name.endswith(TEST_BATCH)


class Failure(NamedTuple):
    """How many generations are in this state for this reason."""

    state: str
    reason: str | None
    number: int


_b, _g = batches.c, generations.c
_BATCH, _SINCE = bindparam("batch", type_=CleanText()), bindparam("since", type_=UtcDateTime())
_FACTS = select(*columns_of(batches, BatchFacts)).where(_b.unfinished_at.is_(None))
_THIS = Query(BatchFacts, _FACTS.where(_b.id == _BATCH))
_NEWEST = Query(BatchFacts, _FACTS.order_by(_b.id.desc()).limit(LIMIT))
_NEXT = Query(
    BatchFacts, _FACTS.where(_b.id < bindparam("before", type_=CleanText())).order_by(_b.id.desc()).limit(LIMIT)
)
# Uses the index of result times, of which a few minutes have few; failures have no such index.
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
        """Return the facts about a batch. Raises NotFound."""
        with self._database.read() as connection:
            found = _THIS.first(connection, batch=batch_id)
        if found is None:
            raise NotFound(f"there is no batch {batch_id}; `darkroom batch list` shows those that exist")
        return found

    def newest_batches(self, limit: int, before: str | None = None) -> list[BatchFacts]:
        """Return a page of batches, newest first. `before`: the last id of the previous page."""
        with self._database.read() as connection:
            if before is None:
                return _NEWEST.all(connection, limit=limit)
            return _NEXT.all(connection, limit=limit, before=before)

    def counts_of_batches(self, batch_ids: Sequence[str]) -> Mapping[str, Mapping[State, int]]:
        """Return the number of generations per state, by batch."""
        with self._database.read() as connection:
            return counts_of_batches(connection, batch_ids)

    def money_of_batches(self, batch_ids: Sequence[str]) -> Mapping[str, BatchMoney]:
        """Return the money by batch; a batch without charges is left out."""
        with self._database.read() as connection:
            return money_of_batches(connection, batch_ids)

    def ended_since(self, batch_id: str, since: datetime) -> int:
        """Return how many of the batch's generations were archived, expired or failed since then."""
        values = {"batch": batch_id, "since": since}
        with self._database.read() as connection:
            return sum(connection.execute(query, values).scalar_one() for query in (_ARCHIVED_SINCE, _FAILED_SINCE))

    def failures_of(self, batch_id: str) -> list[Failure]:
        """Return the batch's failures by state and reason, most frequent first."""
        with self._database.read() as connection:
            found = Counter({row: row.number for row in _FAILURES.all(connection, batch=batch_id)})
        return [failure for failure, _ in found.most_common()]
