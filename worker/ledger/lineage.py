"""What generations belong to: the key of the first ancestor, and the name of the batch."""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection, select

from worker.generation import Lineage
from worker.ledger.schema import batches, generations
from worker.ledger.statements import IDS, Query


class _Lineage(NamedTuple):
    of: str
    key: str | None
    name: str | None


_g = generations.c
# Up from each by primary keys: `of` is where it began.
_UP = (
    select(_g.id.label("of"), _g.parent_id, _g.key, _g.batch_id)
    .where(_g.id.in_(IDS))
    .cte("up", recursive=True)
)  # fmt: skip
_UP = _UP.union_all(
    select(_UP.c.of, _g.parent_id, _g.key, _UP.c.batch_id).select_from(generations).where(_g.id == _UP.c.parent_id)
)
_LINEAGES = Query(
    _Lineage,
    select(_UP.c.of, _UP.c.key, batches.c.name)
    .outerjoin_from(_UP, batches, batches.c.id == _UP.c.batch_id)
    .where(_UP.c.parent_id.is_(None)),
)


def lineages_of(connection: Connection, generation_ids: Sequence[str]) -> dict[str, Lineage]:
    """By id, of those that exist."""
    return {row.of: Lineage(row.key, row.name) for row in _LINEAGES.each(connection, generation_ids)}
