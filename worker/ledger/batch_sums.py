"""Totals of batches: generations per state, and money, without reading any generation."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, SupportsInt

from sqlalchemy import Connection, func, select, union_all

from worker.generation import State
from worker.ledger.schema import (
    LATE,
    POSSIBLE,
    RESERVED,
    SPENT,
    BudgetKind,
    budgets,
    generation_counts,
    generation_deltas,
)
from worker.ledger.statements import IDS, Query


@dataclass(frozen=True, slots=True)
class BatchMoney:
    """In millionths. Known: paid, including late charges. Possible: outcome unknown. Reserved: in progress."""

    known: int = 0
    possible: int = 0
    reserved: int = 0

    @property
    def total(self) -> int:
        return self.known + self.possible + self.reserved


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


_n, _d, _u = generation_counts.c, generation_deltas.c, budgets.c
# One statement, so that no delta is folded between two reads.
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


def counts_of_batches(connection: Connection, batch_ids: Sequence[str]) -> Mapping[str, Mapping[State, int]]:
    """Return the number of generations per state, by batch."""
    found: defaultdict[str, dict[State, int]] = defaultdict(dict)
    for row in _COUNTS.each(connection, batch_ids):
        found[row.batch_id][State(row.state)] = int(row.total)
    return found


def money_of_batches(connection: Connection, batch_ids: Sequence[str]) -> Mapping[str, BatchMoney]:
    """Return the money by batch; a batch without charges is left out."""
    rows = _MONEY.each(connection, batch_ids)
    return {row.batch_id: BatchMoney(row.spent + row.late, row.possible, row.reserved) for row in rows}
