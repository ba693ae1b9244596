"""Pages, newest first, and counts of generations with labels. All requested labels must match."""

from collections import Counter
from collections.abc import Mapping
from functools import cache
from typing import NamedTuple, SupportsInt

from sqlalchemy import BindParameter, Column, ColumnElement, Connection, Select, bindparam, func, literal, select

from worker.failures import Category, category_of
from worker.generation import Generation, State
from worker.ledger.flows import unfinished
from worker.ledger.generations.counting import counts
from worker.ledger.labels import labels_of
from worker.ledger.rows import GENERATION, GenerationRow, to_generation
from worker.ledger.schema import LATE, SPENT, CleanText, charges, generations, labels
from worker.ledger.statements import IDS, LIMIT, Query


class _Number(NamedTuple):
    state: str
    number: int


class _Failed(NamedTuple):
    state: str
    reason: str | None
    message: str | None
    number: int


class _Amount(NamedTuple):
    #: PostgreSQL's sums are decimals
    amount: SupportsInt | None


#: the most generations of a label that are counted to find out which label is rarer, or whether a state is
MOST_PROBED = 10_000

_g, _l, _c = generations.c, labels.c, charges.c
_KNOWN = select(literal(1)).where(
    _l.name == bindparam("name", type_=CleanText()), _l.value == bindparam("value", type_=CleanText())
)
_PROBE = select(func.count()).select_from(_KNOWN.limit(LIMIT).subquery())
_HIDDEN: BindParameter[object] = bindparam("hidden", expanding=True)
_THESE = Query(GenerationRow, select(*GENERATION).where(_g.id.in_(IDS)).order_by(_g.id.desc()))


def has_labels(generation_id: ColumnElement[str], number: int, first: int = 0) -> list[ColumnElement[bool]]:
    """Return the conditions that a generation has this number of labels, whose parameters are `named`.

    They are scalar subqueries: with EXISTS, a database may start from all generations with the label.
    """
    found = []
    for index in range(first, number):
        one = labels.alias(f"label_{index}")
        is_mine = (one.c.generation_id == generation_id) & (one.c.name == _text(f"name_{index}"))
        found.append(select(one.c.value).where(is_mine).scalar_subquery() == _text(f"value_{index}"))
    return found


def named(wanted: Mapping[str, str]) -> dict[str, str]:
    """Return the parameters of `has_labels`."""
    found: dict[str, str] = {}
    for index, (name, value) in enumerate(wanted.items()):
        found |= {f"name_{index}": name, f"value_{index}": value}
    return found


def page_with_labels(
    connection: Connection, wanted: Mapping[str, str], state: State | None, limit: int, before: str | None
) -> list[Generation] | None:
    """Return a page as `Queries.page` does; None if the state is rarer than the labels, and so better to search by."""
    by_rarity = rarest_first(connection, wanted)
    if state is not None:
        in_state = counts(connection).get(state, 0)
        if in_state < how_many_have(connection, *next(iter(by_rarity.items())), limit=min(in_state + 1, MOST_PROBED)):
            return None
    hidden = list(unfinished(connection))
    query = _ids(len(by_rarity), is_of_state=state is not None, is_continued=before is not None, hides=bool(hidden))
    parameters = {**named(by_rarity), "state": state, "before": before, "limit": limit, "hidden": hidden}
    ids = connection.execute(query, parameters).scalars().all()
    return [to_generation(row) for row in _THESE.all(connection, ids=ids)] if ids else []


def counts_with_labels(connection: Connection, wanted: Mapping[str, str], batch_id: str | None) -> dict[State, int]:
    """Count the generations with these labels, in one batch or in total, per state, by reading them."""
    query = _counts(len(wanted), is_of_batch=batch_id is not None)
    parameters: dict[str, object] = {**named(rarest_first(connection, wanted)), "batch": batch_id}
    found = query.all(connection, **parameters, hidden=list(unfinished(connection)))
    return {State(row.state): row.number for row in found}


def count_failures(connection: Connection, batch_id: str | None, wanted: Mapping[str, str]) -> Counter[Category]:
    """Count unsuccessful generations in a batch, or with these labels, by category."""
    query = _failures(len(wanted), is_of_batch=batch_id is not None)
    parameters: dict[str, object] = {**named(rarest_first(connection, wanted)), "batch": batch_id}
    found: Counter[Category] = Counter()
    for row in query.all(connection, **parameters):
        if (category := category_of(State(row.state), row.reason, row.message)) is not None:
            found[category] += row.number
    return found


def spent_with_labels(connection: Connection, wanted: Mapping[str, str]) -> int:
    """Return what was paid for generations with these labels, in millionths."""
    found = _spent(len(wanted)).first(connection, **named(rarest_first(connection, wanted)))
    return int(found.amount or 0) if found else 0


def with_labels(connection: Connection, found: list[Generation], wanted: Mapping[str, str]) -> list[Generation]:
    """Return the generations that have all these labels."""
    known = labels_of(connection, [one.id for one in found])
    return [one for one in found if wanted.items() <= known.get(one.id, {}).items()]


def rarest_first(connection: Connection, wanted: Mapping[str, str]) -> dict[str, str]:
    if len(wanted) < 2:
        return dict(wanted)
    return dict(sorted(wanted.items(), key=lambda one: how_many_have(connection, *one, limit=MOST_PROBED)))


def how_many_have(connection: Connection, name: str, value: str, *, limit: int) -> int:
    return int(connection.execute(_PROBE, {"name": name, "value": value, "limit": limit}).scalar_one())


@cache
def _ids(number: int, *, is_of_state: bool, is_continued: bool, hides: bool) -> Select[*tuple[object, ...]]:
    """Return the query for the ids of a page, through the index of the first label."""
    its, conditions = through_first(number)
    if is_continued:
        conditions.append(its < _text("before"))
    if is_of_state:
        conditions.append(select(_g.state).where(_g.id == its).scalar_subquery() == _text("state"))
    if hides:
        batch = select(func.coalesce(_g.batch_id, "")).where(_g.id == its).scalar_subquery()
        conditions.append(batch.not_in(_HIDDEN))
    return select(its).where(*conditions).order_by(its.desc()).limit(LIMIT)


@cache
def _counts(number: int, *, is_of_batch: bool) -> Query[_Number]:
    per_state = select(_g.state, func.count().label("number")).group_by(_g.state)
    if is_of_batch:
        return Query(_Number, per_state.where(_g.batch_id == _text("batch"), *has_labels(_g.id, number)))
    its, conditions = through_first(number)
    is_seen = func.coalesce(_g.batch_id, "").not_in(_HIDDEN)
    return Query(_Number, per_state.join_from(its.table, generations, _g.id == its).where(*conditions, is_seen))


@cache
def _failures(number: int, *, is_of_batch: bool) -> Query[_Failed]:
    its, conditions = (_g.id, has_labels(_g.id, number)) if is_of_batch else through_first(number)
    if is_of_batch:
        conditions = [_g.batch_id == _text("batch"), *conditions]
    query = select(_g.state, _g.reason, _g.message, func.count().label("number"))
    if not is_of_batch:
        query = query.join_from(its.table, generations, _g.id == its)
    failed = _g.state.in_([State.FAILED, State.EXPIRED, State.UNCONFIRMED, State.CANCELLED])
    return Query(_Failed, query.where(*conditions, failed).group_by(_g.state, _g.reason, _g.message))


@cache
def _spent(number: int) -> Query[_Amount]:
    its, conditions = through_first(number)
    paid = select(func.sum(_c.price).label("amount")).join_from(its.table, charges, _c.generation_id == its)
    return Query(_Amount, paid.where(*conditions, _c.state.in_([SPENT, LATE])))


def through_first(number: int) -> tuple[Column[str], list[ColumnElement[bool]]]:
    """Return the column of ids in the index of the first of this number of labels, and the conditions on all."""
    first = labels.alias("first_label")
    its: Column[str] = first.c.generation_id
    is_first = (first.c.name == _text("name_0"), first.c.value == _text("value_0"))
    return its, [*is_first, *has_labels(its, number, 1)]


def _text(name: str) -> ColumnElement[str]:
    return bindparam(name, type_=CleanText())
