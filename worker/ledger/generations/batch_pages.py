"""Pages of a batch's generations, newest first, at a constant cost.

Their index begins with batch and state, and every move writes it anyway. So a list of all states is merged from one
list per state, instead of using another index that every move would have to write.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from heapq import nlargest

from sqlalchemy import BindParameter, CompoundSelect, Connection, Select, bindparam, select, union_all

from worker.generation import Generation, State
from worker.ledger.generations.label_pages import has_labels, named
from worker.ledger.rows import GENERATION, GenerationRow, to_generation
from worker.ledger.schema import CleanText, batches, generations
from worker.ledger.statements import IDS, LIMIT, Query

_b, _g = batches.c, generations.c
_BATCH = bindparam("batch", type_=CleanText())
_IS_WHOLE = _b.unfinished_at.is_(None)
_OF_ID = select(_b.id).where(_b.id == _BATCH, _IS_WHOLE)
_OF_NAME = select(_b.id).where(_b.name == _BATCH, _IS_WHOLE).order_by(_b.id.desc())
_THESE = Query(GenerationRow, select(*GENERATION).where(_g.id.in_(IDS)).order_by(_g.id.desc()))


def batches_of(connection: Connection, batch: str) -> Sequence[str]:
    """Return the ids of all batches with that id or name, newest first."""
    found = {one for query in (_OF_ID, _OF_NAME) for one in connection.execute(query, {"batch": batch}).scalars()}
    return sorted(found, reverse=True)


def page_of_batches(
    connection: Connection,
    batch: str,
    *,
    state: State | None,
    limit: int,
    before: str | None,
    labels: Mapping[str, str],
) -> list[Generation]:
    """Return a page as `Queries.page` does."""
    query = _ids(len(labels), is_of_state=state is not None, is_continued=before is not None)
    parameters = {"state": state, "before": before, "limit": limit, **named(labels)}
    found = (connection.execute(query, {"batch": one, **parameters}).scalars() for one in batches_of(connection, batch))
    ids = nlargest(limit, (generation_id for some in found for generation_id in some))
    return [to_generation(row) for row in _THESE.all(connection, ids=ids)] if ids else []


@cache
def _ids(
    labels: int, *, is_of_state: bool, is_continued: bool
) -> Select[*tuple[object, ...]] | CompoundSelect[*tuple[object, ...]]:
    """Return the query for the ids of one batch."""

    def of_state(state: str | BindParameter[str]) -> Select[*tuple[object, ...]]:
        query = select(_g.id).where(_g.batch_id == _BATCH, _g.state == state, *has_labels(_g.id, labels))
        query = query.order_by(_g.id.desc()).limit(LIMIT)
        return query.where(_g.id < bindparam("before", type_=CleanText())) if is_continued else query

    if is_of_state:
        return of_state(bindparam("state", type_=CleanText()))
    # Each in a subquery, because SQLite allows no parentheses around parts of a union.
    return union_all(*(select(of_state(state.value).subquery()) for state in State))
