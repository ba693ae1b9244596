"""The results of a batch for export: in the order of the user's rows, each followed by its follow-ups."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import bindparam, case, func, select, tuple_

from worker.generation import Asset, Generation, Lineage
from worker.ledger.database import Part
from worker.ledger.lineage import lineages_of_known
from worker.ledger.rows import ASSET, GENERATION, AssetRow, GenerationRow, Id, names_of_batches, to_asset, to_generation
from worker.ledger.schema import LATE, SPENT, CleanText, assets, charges, generations, labels
from worker.ledger.statements import IDS, LIMIT, Query

#: the most roots that are read at once, each with its follow-ups
_PAGE = 500
#: the most rows of the user's file whose columns are read at once
_ROWS_PAGE = 5000


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchResult:
    """One generation of a batch. `root`: its first ancestor in the batch, perhaps itself.

    `cost`: what was paid, in millionths; None without a price.
    """

    generation: Generation
    root: Generation
    lineage: Lineage
    assets: Sequence[Asset]
    cost: int | None
    labels: Mapping[str, str]

    @property
    def actions(self) -> tuple[str, ...]:
        """The steps from its first ancestor; a step that is not the only one of its kind includes its mark."""
        return tuple(step.action if step.mark is None else f"{step.action}-{step.mark}" for step in self.lineage.steps)


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultColumns:
    """The columns of a table of a batch. `files`: the largest number of results of one generation."""

    inputs: tuple[str, ...]
    labels: tuple[str, ...]
    files: int


class _Row(NamedTuple):
    row_number: int
    id: str
    input: Mapping[str, object] | None


class _Cost(NamedTuple):
    generation_id: str
    paid: int


class _Label(NamedTuple):
    generation_id: str
    name: str
    value: str


class _Name(NamedTuple):
    name: str


_g, _parent = generations.c, generations.alias("parent")
_BATCH = bindparam("batch", type_=CleanText())
_AFTER = tuple_(bindparam("number"), bindparam("after", type_=CleanText()))
_ROWS = Query(
    _Row,
    select(_g.row_number, _g.id, _g.input)
    .where(_g.batch_id == _BATCH, _g.row_number.is_not(None), tuple_(_g.row_number, _g.id) > _AFTER)
    .order_by(_g.row_number, _g.id)
    .limit(LIMIT),
)
# Submitted by hand, or follow-ups of generations that belong to another batch or none.
_OTHER_ROOTS = Query(
    Id,
    select(_g.id)
    .outerjoin(_parent, _parent.c.id == _g.parent_id)
    .where(
        _g.batch_id == _BATCH,
        _g.row_number.is_(None),
        _parent.c.batch_id.is_(None) | (_parent.c.batch_id != _BATCH),
    )
    .order_by(_g.id),
)
_tree = select(_g.id).where(_g.id.in_(IDS)).cte("tree", recursive=True)
_tree = _tree.union_all(select(_g.id).where(_g.parent_id == _tree.c.id, _g.batch_id == _BATCH, _g.row_number.is_(None)))
_FAMILIES = Query(GenerationRow, select(*GENERATION).where(_g.id.in_(select(_tree.c.id))).order_by(_g.id))
_ASSETS = Query(
    AssetRow,
    select(*ASSET).where(assets.c.generation_id.in_(IDS)).order_by(assets.c.generation_id, assets.c.index),
)
_PAID = case((charges.c.state.in_([SPENT, LATE]), charges.c.price), else_=0)
_COSTS = Query(
    _Cost,
    select(charges.c.generation_id, func.sum(_PAID).label("paid"))
    .where(charges.c.generation_id.in_(IDS))
    .group_by(charges.c.generation_id),
)
_LABELS = Query(
    _Label,
    select(labels.c.generation_id, labels.c.name, labels.c.value)
    .where(labels.c.generation_id.in_(IDS))
    .order_by(labels.c.generation_id, labels.c.name),
)
_LABEL_NAMES = Query(
    _Name,
    select(labels.c.name)
    .join(generations, _g.id == labels.c.generation_id)
    .where(_g.batch_id == _BATCH)
    .group_by(labels.c.name)
    .order_by(labels.c.name),
)
_LAST_INDEX = (
    select(func.max(assets.c.index)).join(generations, _g.id == assets.c.generation_id).where(_g.batch_id == _BATCH)
)


class Results(Part):
    def result_columns(self, batch_id: str) -> ResultColumns:
        """Return the columns of the user's rows in order of first use, the labels, and the number of files."""
        inputs: dict[str, None] = {}
        for page in self._rows(batch_id, _ROWS_PAGE):
            for row in page:
                inputs.update(dict.fromkeys(row.input or ()))
        with self._database.read() as connection:
            names = tuple(row.name for row in _LABEL_NAMES.all(connection, batch=batch_id))
            last = connection.execute(_LAST_INDEX, {"batch": batch_id}).scalar()
        return ResultColumns(inputs=tuple(inputs), labels=names, files=0 if last is None else int(last) + 1)

    def results(self, batch_id: str) -> Iterator[BatchResult]:
        """Yield all generations of a batch by row of the user's file, then those without one.

        Follow-ups come after their parent. Each page is a separate transaction.
        """
        for page in self._rows(batch_id, _PAGE):
            yield from self._families(batch_id, [row.id for row in page])
        with self._database.read() as connection:
            others = [row.id for row in _OTHER_ROOTS.all(connection, batch=batch_id)]
        for start in range(0, len(others), _PAGE):
            yield from self._families(batch_id, others[start : start + _PAGE])

    def _rows(self, batch_id: str, size: int) -> Iterator[list[_Row]]:
        number, after = 0, ""
        while True:
            with self._database.read() as connection:
                page = _ROWS.all(connection, batch=batch_id, number=number, after=after, limit=size)
            if not page:
                return
            yield page
            number, after = page[-1].row_number, page[-1].id

    def _families(self, batch_id: str, root_ids: Sequence[str]) -> list[BatchResult]:
        with self._database.read() as connection:
            found = {row.id: to_generation(row) for row in _FAMILIES.each(connection, root_ids, batch=batch_id)}
            ids = list(found)
            stored = _ASSETS.each(connection, ids)
            costs = {row.generation_id: int(row.paid) for row in _COSTS.each(connection, ids)}
            labelled = _LABELS.each(connection, ids)
            names = names_of_batches(connection, [batch_id])
            lineages = lineages_of_known(connection, list(found.values()), names)
        files: defaultdict[str, list[Asset]] = defaultdict(list)
        for asset in stored:
            files[asset.generation_id].append(to_asset(asset))
        named: defaultdict[str, dict[str, str]] = defaultdict(dict)
        for label in labelled:
            named[label.generation_id][label.name] = label.value
        roots = [found[root_id] for root_id in root_ids if root_id in found]
        return [
            BatchResult(
                generation=one,
                root=root,
                lineage=lineages[one.id],
                assets=files.get(one.id, ()),
                cost=costs.get(one.id),
                labels=named.get(one.id, {}),
            )
            for one, root in _in_order(roots, found)
        ]


def _in_order(roots: Sequence[Generation], found: Mapping[str, Generation]) -> Iterator[tuple[Generation, Generation]]:
    """Yield each generation with its root, after its parent."""
    are_roots = {root.id for root in roots}
    children: defaultdict[str | None, list[Generation]] = defaultdict(list)
    for one in found.values():
        if one.id not in are_roots:
            children[one.parent_id].append(one)
    for root in roots:
        waiting = [root]
        while waiting:
            one = waiting.pop()
            yield one, root
            waiting += reversed(children.get(one.id, ()))
