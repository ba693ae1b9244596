"""Generations per state, counted by triggers (`schema/count_tables.py`)."""

from collections import Counter
from typing import NamedTuple, SupportsInt

from sqlalchemy import Connection, Select, bindparam, delete, func, literal, literal_column, select, text, union_all

from worker.generation import State
from worker.ledger.database import Part
from worker.ledger.schema import ALL, UNFINISHED, CleanText, batches, generation_counts, generation_deltas
from worker.ledger.statements import IDS, LIMIT, Query, insert_into

#: the most deltas that one transaction folds, and the most transactions of one pass
BITE, _MOST_BITES = 1000, 20


class _Delta(NamedTuple):
    batch_id: str | None
    state: str
    number: int


class _Total(NamedTuple):
    state: str
    #: PostgreSQL's sums are decimals
    total: SupportsInt


_n, _d = generation_counts.c, generation_deltas.c
_BATCH = bindparam("batch", type_=CleanText())
#: batches that are not visible yet
_HIDDEN = select(batches.c.id).where(text(UNFINISHED))


def _sums(*parts: Select[*tuple[object, ...]]) -> Query[_Total]:
    """Sum in one statement: a delta folded between two reads would be counted twice, or not at all."""
    found = union_all(*parts).subquery()
    total = func.sum(found.c.number)
    return Query(_Total, select(found.c.state, total.label("total")).group_by(found.c.state).having(total != 0))


_OF_ALL = _sums(
    select(_n.state, _n.number).where(_n.batch_id == ALL),
    select(_n.state, -_n.number).where(_n.batch_id.in_(_HIDDEN)),
    select(_d.state, _d.number).where(_d.batch_id.is_(None) | _d.batch_id.not_in(_HIDDEN)),
)
_IS_SEEN = ~select(literal(1)).where(batches.c.id == _BATCH, text(UNFINISHED)).exists()
_OF_BATCH = _sums(
    select(_n.state, _n.number).where(_n.batch_id == _BATCH, _IS_SEEN),
    select(_d.state, _d.number).where(_d.batch_id == _BATCH, _IS_SEEN),
)
_ANY = select(literal(1)).select_from(generation_deltas).limit(1)
# Not in order of time: sums do not depend on it.
_SOME = select(_d.id).order_by(_d.id).limit(LIMIT).with_for_update(skip_locked=True)
_TAKE = Query(_Delta, delete(generation_deltas).where(_d.id.in_(_SOME)).returning(_d.batch_id, _d.state, _d.number))
_EMPTY = delete(generation_counts).where(_n.batch_id.in_(IDS), _n.number == 0)


class Counting(Part):
    def fold_counts(self) -> int:
        """Fold new deltas into the counts; return how many rows. Safe to run concurrently."""
        with self._database.read() as connection:
            if connection.execute(_ANY).first() is None:
                return 0
        folded = 0
        for _ in range(_MOST_BITES):
            with self._database.write(under_way=True) as connection:
                some = _fold(connection)
            folded += some
            if some < BITE:
                break
        return folded


def _fold(connection: Connection) -> int:
    rows = _TAKE.all(connection, limit=BITE)
    sums: Counter[tuple[str, str]] = Counter()
    for batch_id, state, number in rows:
        sums[ALL, state] += number
        if batch_id is not None:
            sums[batch_id, state] += number
    # In order, so that two folds never deadlock.
    changed = [
        {"batch_id": batch_id, "state": state, "number": sums[batch_id, state]}
        for batch_id, state in sorted(sums)
        if sums[batch_id, state]
    ]
    if changed:
        adding = insert_into(connection, generation_counts)
        total = {"number": _n.number + literal_column("excluded.number")}
        connection.execute(adding.on_conflict_do_update(index_elements=[_n.batch_id, _n.state], set_=total), changed)
        connection.execute(_EMPTY, {"ids": sorted({batch_id for batch_id, _ in sums})})
    return len(rows)


def counts(connection: Connection, batch_id: str | None = None) -> dict[State, int]:
    """Count generations per state, in total or for one batch; unfinished batches are left out."""
    found = _OF_ALL.all(connection) if batch_id is None else _OF_BATCH.all(connection, batch=batch_id)
    return {State(row.state): int(row.total) for row in found}
