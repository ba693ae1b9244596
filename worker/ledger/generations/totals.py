"""Totals of generations (per state, failures per category, cost), and their labels."""

from collections import Counter
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, func, select

from worker.failures import Category
from worker.generation import Generation, State
from worker.ledger.database import Part
from worker.ledger.generations.counting import counts
from worker.ledger.generations.label_pages import (
    count_failures,
    counts_with_labels,
    spent_with_labels,
    with_labels,
)
from worker.ledger.labels import labels_of
from worker.ledger.schema import LATE, SPENT, CleanText, charges, generations
from worker.ledger.statements import IDS, Query

NO_LABELS: Mapping[str, str] = MappingProxyType({})


class _Spent(NamedTuple):
    amount: int | None


_g = generations.c
_SPENT = select(func.sum(charges.c.price).label("amount")).where(charges.c.state.in_([SPENT, LATE]))
_SPENT_ON = Query(_Spent, _SPENT.where(charges.c.generation_id.in_(IDS)))
_SPENT_ON_BATCH = _SPENT.join(generations, _g.id == charges.c.generation_id).where(
    _g.batch_id == bindparam("batch", type_=CleanText())
)
_down = select(_g.id).where(_g.id == bindparam("root", type_=CleanText())).cte("down", recursive=True)
_down = _down.union_all(select(_g.id).where(_g.parent_id == _down.c.id))
_SPENT_ON_FAMILY = Query(_Spent, _SPENT.join(_down, _down.c.id == charges.c.generation_id))


class Totals(Part):
    def spent(
        self,
        *,
        batch_id: str | None = None,
        labels: Mapping[str, str] = NO_LABELS,
        generation_ids: Sequence[str] = (),
    ) -> int:
        """Return what was paid for a batch, for all with these labels, or for these generations, in millionths."""
        with self._database.read() as connection:
            if labels:
                return spent_with_labels(connection, labels)
            if batch_id is not None:
                return int(connection.execute(_SPENT_ON_BATCH, {"batch": batch_id}).scalar() or 0)
            return sum(int(row.amount or 0) for row in _SPENT_ON.each(connection, generation_ids))

    def counts(self, batch_id: str | None = None, labels: Mapping[str, str] = NO_LABELS) -> dict[State, int]:
        """Count generations per state, in total or for one batch; reads them only if `labels` are given."""
        with self._database.read() as connection:
            return counts_with_labels(connection, labels, batch_id) if labels else counts(connection, batch_id)

    def failures(self, *, batch_id: str | None = None, labels: Mapping[str, str] = NO_LABELS) -> Counter[Category]:
        """Count unsuccessful generations in a batch, or with these labels, by category."""
        with self._database.read() as connection:
            return count_failures(connection, batch_id, labels)

    def labels_of(self, generation_ids: Sequence[str]) -> dict[str, dict[str, str]]:
        """Return labels by generation; generations without labels are left out."""
        with self._database.read() as connection:
            return labels_of(connection, generation_ids)

    def with_labels(self, found: list[Generation], labels: Mapping[str, str]) -> list[Generation]:
        """Return the generations that have all these labels."""
        with self._database.read() as connection:
            return with_labels(connection, found, labels)


def spent_on_family(connection: Connection, generation_id: str) -> int:
    """Return what was paid for a generation and all of its descendants, in millionths."""
    found = _SPENT_ON_FAMILY.first(connection, root=generation_id)
    return int(found.amount or 0) if found else 0
