"""What generations belong to: their first ancestor, their path from it, and the name of the batch."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, literal, select

from worker.generation import FollowUpStep, Generation, Lineage
from worker.ledger.rows import names_of_batches
from worker.ledger.schema import generations
from worker.ledger.statements import IDS, Query


class _Ancestor(NamedTuple):
    of: str
    level: int
    id: str
    parent_id: str | None
    batch_id: str | None
    key: str | None
    dedupe: str | None
    operation: str
    action: str | None
    row_version: int | None
    step: str | None
    created_at: datetime
    input: Mapping[str, object] | None


_g = generations.c
_FACTS = [_g[name] for name in _Ancestor._fields[2:]]
# From each generation (`of`) upward, by primary key.
_UP = select(_g.id.label("of"), literal(0).label("level"), *_FACTS).where(_g.id.in_(IDS)).cte("up", recursive=True)
_UP = _UP.union_all(select(_UP.c.of, _UP.c.level + 1, *_FACTS).select_from(generations).where(_g.id == _UP.c.parent_id))
_ANCESTORS = Query(_Ancestor, select(*[_UP.c[name] for name in _Ancestor._fields]))


def dedupe_of_follow_up(parent_id: str, action: str) -> str:
    """Return the `dedupe` that makes a follow-up the only one of its kind."""
    return f"{parent_id}/{action}"


def dedupe_of_step(recipe: str, step: str, parent_id: str, number: int | None) -> str:
    """Return the `dedupe` of a recipe step's only follow-up. `number`: of the picked image, if there are several."""
    return f"recipe:{recipe}/{parent_id}/{step}" + ("" if number is None else f"-{number}")


def lineages_of(connection: Connection, generation_ids: Sequence[str]) -> dict[str, Lineage]:
    """Return the lineages of the generations that exist, by id."""
    chains: defaultdict[str, list[_Ancestor]] = defaultdict(list)
    for row in _ANCESTORS.each(connection, generation_ids):
        chains[row.of].append(row)
    for chain in chains.values():
        chain.sort(key=lambda row: row.level)
    names = names_of_batches(connection, (chain[0].batch_id for chain in chains.values()))
    return {of: _lineage(chain, names) for of, chain in chains.items()}


def lineages_of_known(
    connection: Connection, known: Sequence[Generation], names: Mapping[str | None, str]
) -> dict[str, Lineage]:
    """Return what `lineages_of` does, but query only those with a parent. `names`: of their batches, by id."""
    children = lineages_of(connection, [one.id for one in known if one.parent_id])
    return {one.id: children.get(one.id) or Lineage.of_root(one, names.get(one.batch_id)) for one in known}


def _lineage(chain: Sequence[_Ancestor], names: Mapping[str | None, str]) -> Lineage:
    root = chain[-1]
    return Lineage(
        root_id=root.id,
        root_key=root.key,
        root_version=root.row_version or 1,
        root_created_at=root.created_at,
        root_input=root.input or {},
        batch=names.get(chain[0].batch_id),
        steps=tuple(_step(row) for row in reversed(chain[:-1])),
    )


def _step(row: _Ancestor) -> FollowUpStep:
    if row.step is not None and (row.dedupe or "").startswith("recipe:"):
        # A step's name is unique in its recipe, and its number in its step.
        return FollowUpStep(str(row.dedupe).rpartition("/")[2], None)
    action = row.action or row.operation
    is_only_one = row.dedupe == dedupe_of_follow_up(str(row.parent_id), action)
    return FollowUpStep(action, None if is_only_one else row.key or row.id)
