"""Searches generations for the gallery, newest first.

A request reads lanes: ranges of an index in order of ids, such as those in one state, or of a batch in one state. If no
index covers the search, the number of rows read is limited, and the page says how far back it searched.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import cache
from typing import NamedTuple

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Connection,
    UnaryExpression,
    and_,
    bindparam,
    func,
    literal,
    literal_column,
    select,
    text,
    tuple_,
)

from worker.generation import AssetKind, Operation, State
from worker.ledger.database import Part
from worker.ledger.flows import unfinished
from worker.ledger.generations.counting import counts
from worker.ledger.generations.label_pages import (
    MOST_PROBED,
    has_labels,
    how_many_have,
    named,
    rarest_first,
    through_first,
)
from worker.ledger.generations.likeness import Words, has_words, is_like, parameters_of, pattern_of_key, words_of
from worker.ledger.rows import Id
from worker.ledger.schema import BY_STATE, STORED, CleanText, Mark, assets, generations, marks
from worker.ledger.statements import IDS, LIMIT, Query

#: the most rows that one request reads if no index covers the search
MOST_LOOKED_AT = 50_000
#: bounds of all ids
_LOWEST, _HIGHEST = "gen_", "gen_g"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Search conditions, all of which must hold.

    `states`: one of them; `batches`: one of these ids; `key`: a pattern for its own key or its first ancestor's;
    `is_exact`: `key` is not a pattern; `words`: in its prompt, ignoring case; `mark`: PICKED for at least one of its
    images, REJECTED for all of them; `since`: the lowest id; `until`: below this id.
    """

    states: tuple[State, ...]
    batches: tuple[str, ...] | None = None
    provider: str | None = None
    operation: Operation | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    key: str | None = None
    is_exact: bool = False
    words: str | None = None
    mark: Mark | None = None
    since: str | None = None
    until: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """`ids`: newest first; `next`: the id after which the next page begins, None at the end.

    `is_cut`: whether the row limit was reached at `next`; there may be more below.
    """

    ids: tuple[str, ...]
    next: str | None
    is_cut: bool = False


class _Kind(Enum):
    STATE = "state"
    BATCH = "batch"
    LABEL = "label"
    KEY = "key"


class _Shape(NamedTuple):
    """What determines the statement: one is built for each shape."""

    kind: _Kind
    is_sqlite: bool
    by_provider: bool
    by_operation: bool
    by_key: bool
    words: Words | None
    mark: Mark | None
    labels: int
    of_batches: bool
    hides: bool

    @property
    def is_filtered(self) -> bool:
        """Whether some rows of a lane may not match."""
        asked = self.by_provider or self.by_operation or self.by_key or self.words or self.mark or self.hides
        return bool(asked or self.kind is _Kind.LABEL or self.labels)


class _Edge(NamedTuple):
    """`last`: the lowest id of this `number` of rows."""

    last: str | None
    number: int


_g = generations.c
_by_state: ColumnElement[str] = literal_column(BY_STATE, CleanText)
_STATES: BindParameter[object] = bindparam("states", expanding=True)
_BATCHES: BindParameter[object] = bindparam("batches", expanding=True)
_HIDDEN: BindParameter[object] = bindparam("hidden", expanding=True)
_down = select(_g.id).where(_g.key == bindparam("exact", type_=CleanText()), _g.key.is_not(None))
_down_from = _down.cte("down", recursive=True)
_family = _down_from.union_all(select(_g.id).where(_g.parent_id == _down_from.c.id))
#: generations with a key and all of their descendants; as many as one statement can name (`Query.each`)
_FAMILY = select(_family.c.id).limit(5000)
#: whether the key of the first ancestor, if there is one, matches; found by primary key
_ROOT_IS_LIKE = """generations.parent_id IS NOT NULL AND EXISTS (
    WITH RECURSIVE up(key, parent_id) AS (
        SELECT parent.key, parent.parent_id FROM generations AS parent WHERE parent.id = generations.parent_id
        UNION ALL
        SELECT above.key, above.parent_id FROM up JOIN generations AS above ON above.id = up.parent_id
    ) SELECT 1 FROM up WHERE up.parent_id IS NULL AND up.key {like} :key)"""
_a, _m = assets.c, marks.c
_mine = select(literal(1)).where(_m.generation_id == _g.id)
_other_image = select(literal(1)).where(
    _a.generation_id == _g.id,
    text(f"assets.{STORED}"),
    _a.kind == AssetKind.IMAGE,
    ~select(literal(1))
    .where(_m.generation_id == _a.generation_id, _m.index == _a.index, _m.verdict == Mark.REJECTED)
    .exists(),
)
#: a rejected generation may be deleted with all of its images, so all of them must be rejected
_MARKED: Mapping[Mark, list[ColumnElement[bool]]] = {
    Mark.PICKED: [_mine.where(_m.verdict == Mark.PICKED).exists()],
    Mark.REJECTED: [_mine.exists(), ~_other_image.exists()],
}


class Gallery(Part):
    def look(self, wanted: Wanted, *, before: str | None, limit: int) -> Looked:
        """Return a page of matches, after the id `before`."""
        is_sqlite = self._database.is_sqlite
        with self._database.read() as connection:
            if not is_sqlite:
                # Read all lanes from one snapshot: what moves between lanes between two reads could be in none.
                connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
            hidden = list(unfinished(connection))
            kind, labels = _kind_of(connection, wanted)
            shape = _Shape(
                kind=kind,
                is_sqlite=is_sqlite,
                by_provider=wanted.provider is not None,
                by_operation=wanted.operation is not None,
                by_key=wanted.key is not None,
                words=words_of(wanted.words, is_sqlite=is_sqlite) if wanted.words else None,
                mark=wanted.mark,
                labels=len(labels),
                of_batches=wanted.batches is not None and kind is not _Kind.BATCH,
                hides=bool(hidden),
            )
            parameters = _parameters(wanted, shape, labels) | {"hidden": hidden, "limit": limit + 1}
            parameters["upper"] = min(one for one in (before, wanted.until, _HIGHEST) if one is not None)
            return _page(connection, wanted, shape, parameters, limit)


def _page(
    connection: Connection, wanted: Wanted, shape: _Shape, parameters: Mapping[str, object], limit: int
) -> Looked:
    lowest = wanted.since or _LOWEST
    query, edge = _ids_in(_without_texts(shape)), _edge_of(shape.kind, shape.is_sqlite)
    found: set[str] = set()
    floors: list[str] = []
    lanes = list(_lanes(wanted, shape.kind))
    # Half as many for labels: each match reads the row of the label and the row of its generation.
    left = MOST_LOOKED_AT // 2 if shape.kind is _Kind.LABEL else MOST_LOOKED_AT
    for number, lane in enumerate(lanes):
        mine = {**parameters, **lane, "floor": lowest}
        if shape.is_filtered and shape.kind is not _Kind.KEY:
            # The lanes after it share what a lane does not need.
            budget = max(1, left // (len(lanes) - number))
            reached = edge.first(connection, **mine, budget=budget)
            assert reached is not None  # noqa: S101  an aggregate is a row
            left -= reached.number
            if reached.number == budget and reached.last is not None:
                mine["floor"] = reached.last
                floors.append(reached.last)
        if shape.kind is _Kind.KEY:
            mine["ids"] = connection.execute(_FAMILY, mine).scalars().all()
        found.update(row.id for row in query.all(connection, **mine))
    # Below the highest floor, not all lanes were searched.
    floor = max(floors, default=lowest)
    ids = sorted((one for one in found if one >= floor), reverse=True)
    if len(ids) > limit:
        return Looked(ids=tuple(ids[:limit]), next=ids[limit - 1])
    return Looked(ids=tuple(ids), next=floor if floors else None, is_cut=bool(floors))


def _kind_of(connection: Connection, wanted: Wanted) -> tuple[_Kind, Mapping[str, str]]:
    """Return the kind of index to search; and the labels, rarest first if they may be searched by."""
    if wanted.key is not None and wanted.is_exact:
        return _Kind.KEY, wanted.labels
    if wanted.batches is not None:
        return _Kind.BATCH, wanted.labels
    if not wanted.labels:
        return _Kind.STATE, wanted.labels
    labels = rarest_first(connection, wanted.labels)
    known = counts(connection)
    in_states = sum(known.get(state, 0) for state in wanted.states)
    name, value = next(iter(labels.items()))
    if in_states < how_many_have(connection, name, value, limit=min(in_states + 1, MOST_PROBED)):
        return _Kind.STATE, labels
    return _Kind.LABEL, labels


def _lanes(wanted: Wanted, kind: _Kind) -> Iterator[Mapping[str, object]]:
    """Yield the parameters of each lane. States with few rows come first (`Wanted.states`), leaving more for others."""
    if kind is _Kind.BATCH:
        yield from ({"batch": batch, "state": state} for batch in wanted.batches or () for state in wanted.states)
    elif kind is _Kind.STATE:
        yield from ({"state": state} for state in wanted.states)
    else:
        yield {}


def _parameters(wanted: Wanted, shape: _Shape, labels: Mapping[str, str]) -> dict[str, object]:
    found: dict[str, object] = {**named(labels), "states": list(wanted.states), "batches": list(wanted.batches or ())}
    found |= {"provider": wanted.provider, "operation": wanted.operation, "exact": wanted.key}
    if wanted.key is not None:
        found["key"] = pattern_of_key(_quoted(wanted.key) if wanted.is_exact else wanted.key, is_sqlite=shape.is_sqlite)
    if shape.words is not None:
        found |= parameters_of(shape.words, "words")
    return found


def _quoted(key: str) -> str:
    return "".join(f"[{one}]" if one in "*?[" else one for one in key)


def _without_texts(shape: _Shape) -> _Shape:
    """Return the same shape for all words, so that they share one statement."""
    return shape if shape.words is None else shape._replace(words=shape.words.without_texts)


@cache
def _edge_of(kind: _Kind, is_sqlite: bool) -> Query[_Edge]:
    """Return the query for how far a budget of rows reaches in a lane."""
    its, conditions, order = _lane(kind, is_sqlite=is_sqlite)
    looked_at = select(its.label("id")).where(*conditions).order_by(*order).limit(bindparam("budget")).subquery()
    return Query(_Edge, select(func.min(looked_at.c.id).label("last"), func.count().label("number")))


@cache
def _ids_in(shape: _Shape) -> Query[Id]:
    """Return the query for the matching ids of a lane."""
    its, conditions, order = _lane(shape.kind, is_sqlite=shape.is_sqlite)
    if shape.kind is _Kind.LABEL:
        # A scalar subquery: with EXISTS, PostgreSQL may start from all generations.
        mine = select(literal(1)).where(_g.id == its, _g.state.in_(_STATES), *_filters(shape, 1))
        conditions = [*conditions, mine.correlate(its.table).scalar_subquery() == 1]
    else:
        conditions = [*conditions, *_filters(shape, 0)]
    return Query(Id, select(its.label("id")).where(*conditions).order_by(*order).limit(LIMIT))


def _lane(
    kind: _Kind, *, is_sqlite: bool
) -> tuple[ColumnElement[str], list[ColumnElement[bool]], list[UnaryExpression[str]]]:
    """Return the ids, the conditions that select the part of the index, and its order."""
    state, upper, floor = _text("state"), _text("upper"), _text("floor")
    if kind is _Kind.LABEL:
        label, conditions = through_first(1)
        return label, [*conditions, label < upper, label >= floor], [label.desc()]
    its: ColumnElement[str] = _g.id
    if kind is _Kind.KEY:
        return its, [its.in_(IDS), its < upper, its >= floor, _g.state.in_(_STATES)], [its.desc()]
    of_batch = [_g.batch_id == _text("batch")] if kind is _Kind.BATCH else []
    states: ColumnElement[str] = _g.state if kind is _Kind.BATCH else _by_state
    if is_sqlite:
        return its, [*of_batch, states == state, its < upper, its >= floor], [its.desc()]
    # Row comparisons: with separate conditions on state and ids, PostgreSQL would search all of these ids; with bounds
    # on the state alone, it would begin each page at the newest id of that state.
    between = and_(tuple_(states, its) < tuple_(state, upper), tuple_(states, its) >= tuple_(state, floor))
    return its, [*of_batch, between], [states.desc(), its.desc()]


def _filters(shape: _Shape, first_label: int) -> list[ColumnElement[bool]]:
    """Return the conditions that no index covers, cheapest first."""
    found: list[ColumnElement[bool]] = []
    if shape.by_provider:
        found.append(_g.provider == _text("provider"))
    if shape.by_operation:
        found.append(_g.operation == _text("operation"))
    if shape.of_batches:
        found.append(_g.batch_id.in_(_BATCHES))
    if shape.hides:
        found.append(func.coalesce(_g.batch_id, "").not_in(_HIDDEN))
    if shape.words is not None:
        found += has_words(_g.prompt, shape.words, "words", is_sqlite=shape.is_sqlite)
    if shape.by_key:
        like = "GLOB" if shape.is_sqlite else "~"
        root = text(_ROOT_IS_LIKE.format(like=like)).bindparams(_bound("key"))
        found.append(is_like(_g.key, "key", is_sqlite=shape.is_sqlite) | root)
    if shape.mark is not None:
        found += _MARKED[shape.mark]
    return [*found, *has_labels(_g.id, shape.labels, first_label)]


def _text(name: str) -> ColumnElement[str]:
    return _bound(name)


def _bound(name: str) -> BindParameter[str]:
    return bindparam(name, type_=CleanText())
