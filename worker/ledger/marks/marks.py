"""The façade for marks. The last verdict on an image counts, no matter whose it is."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import NamedTuple

from sqlalchemy import Select, and_, bindparam, case, delete, func, literal, select, text, tuple_

from worker.errors import NotFound
from worker.generation import AssetKind, State
from worker.ledger.access import Once, claim, keep
from worker.ledger.changes import Changes, lock_known
from worker.ledger.database import Part
from worker.ledger.schema import STORED, UNDOABLE, CleanText, Mark, assets, generations, marks
from worker.ledger.statements import IDS, Query, columns_of, insert_into, update_row


class ImageMark(NamedTuple):
    """`number`: the index of the asset."""

    generation_id: str
    number: int
    verdict: Mark
    by: str
    at: datetime


class CulledImage(NamedTuple):
    """An image of a batch, with its mark, if any. `number`: the index of the asset."""

    generation_id: str
    number: int
    width: int | None
    height: int | None
    verdict: str | None
    by: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CullingPlace:
    """An image of a batch and its neighbors in the batch's order; None where there is none."""

    here: CulledImage | None
    before: CulledImage | None
    after: CulledImage | None
    images: int
    picked: int
    rejected: int


class _Undoable(NamedTuple):
    generation_id: str
    number: int
    previous: str


#: what a request with an idempotency key has undone: at most one image
_UNDONE = "images"


class _Counts(NamedTuple):
    images: int
    picked: int
    rejected: int


_m, _a, _g = marks.c, assets.c, generations.c
_BY = bindparam("of_person", type_=CleanText())
_MARKS = Query(
    ImageMark,
    select(*columns_of(marks, ImageMark, number="index"))
    .where(_m.generation_id.in_(IDS))
    .order_by(_m.generation_id, _m.index),
)
_NEWEST = Query(
    _Undoable,
    select(*columns_of(marks, _Undoable, number="index"))
    .where(_m.by == _BY, text(UNDOABLE))
    .order_by(_m.at.desc())
    .limit(1)
    .with_for_update(),
)
_IS_IMAGE = (text(f"assets.{STORED}"), _a.kind == AssetKind.IMAGE)
_IMAGE = (
    select(literal(1))
    .where(_a.generation_id == bindparam("of", type_=CleanText()), _a.index == bindparam("number"))
    .where(text(STORED), _a.kind == AssetKind.IMAGE)
)
_OF_BATCH = (_g.batch_id == bindparam("batch", type_=CleanText()), _g.state == State.ARCHIVED)
_MARKED = and_(_m.generation_id == _a.generation_id, _m.index == _a.index)
_COUNTS = Query(
    _Counts,
    select(
        func.count().label("images"),
        func.count(case((_m.verdict == Mark.PICKED, 1))).label("picked"),
        func.count(case((_m.verdict == Mark.REJECTED, 1))).label("rejected"),
    )
    .select_from(generations.join(assets, _a.generation_id == _g.id).outerjoin(marks, _MARKED))
    .where(*_OF_BATCH, *_IS_IMAGE),
)


class Marks(Part):
    def set(self, generation_id: str, number: int, verdict: Mark, by: str) -> None:
        """Mark an image. Raises NotFound if it is not stored."""
        with self._database.write() as connection:
            changes = Changes(connection, self._database.clock())
            lock_known(changes, [generation_id])
            if not connection.execute(_IMAGE, {"of": generation_id, "number": number}).first():
                raise NotFound(f"{generation_id} has no stored image {number}")
            row = {"generation_id": generation_id, "index": number, "verdict": verdict, "by": by, "at": changes.at}
            insert = insert_into(connection, marks).values(**row, previous="")
            # A repeated verdict remains attributed to the person who gave it first.
            again = insert.on_conflict_do_update(
                index_elements=["generation_id", "index"],
                set_={**{name: insert.excluded[name] for name in ("verdict", "by", "at")}, "previous": _m.verdict},
                where=_m.verdict != insert.excluded.verdict,
            )
            connection.execute(again)

    def clear(self, generation_id: str, number: int) -> None:
        """Remove an image's mark, if any."""
        with self._database.write() as connection:
            mine = delete(marks).where(_m.generation_id == generation_id, _m.index == number)
            connection.execute(mine)

    def undo(self, by: str, once: Once) -> tuple[str, int] | None:
        """Undo this person's last mark that nobody has changed since; return its image, or None if there is none.

        The idempotency key is recorded in the same transaction: a repeated request undoes no other mark.
        Raises KeyReused.
        """
        now = self._database.clock()
        with self._database.write() as connection:
            if (undone := claim(connection, once, now)) is not None:
                return next(((one, int(number)) for one, number in map(str.split, undone[_UNDONE])), None)
            found = _NEWEST.first(connection, of_person=by)
            keep(connection, once, {_UNDONE: [f"{found.generation_id} {found.number}"] if found else []})
            if found is None:
                return None
            mine = {"generation_id": found.generation_id, "index": found.number}
            if found.previous:
                update_row(connection, marks, mine, verdict=found.previous, previous=None)
            else:
                connection.execute(delete(marks).where(*(marks.c[name] == value for name, value in mine.items())))
        return found.generation_id, found.number

    def of(self, generation_ids: Sequence[str]) -> list[ImageMark]:
        """Return the marks of these generations' images."""
        with self._database.read() as connection:
            return [one._replace(verdict=Mark(one.verdict)) for one in _MARKS.each(connection, generation_ids)]

    def place(self, batch_id: str, at: tuple[str, int] | None, verdict: Mark | None, *, unmarked: bool) -> CullingPlace:
        """Return an image of a batch's archived generations and its neighbors; without `at`, the first image.

        Only images with this `verdict` or, if `unmarked`, without a mark count as neighbors; otherwise all do.
        """
        with self._database.read() as connection:
            (counts,) = _COUNTS.all(connection, batch=batch_id)
            if at is None:
                here = _look("after").first(connection, batch=batch_id, at="", number=-1)
            else:
                here = _look("at").first(connection, batch=batch_id, at=at[0], number=at[1])
            before = after = None
            if here is not None:
                of = {"batch": batch_id, "at": here.generation_id, "number": here.number, "verdict": verdict}
                before, after = (
                    _look(where, is_of_verdict=verdict is not None, is_unmarked=unmarked).first(connection, **of)
                    for where in ("before", "after")
                )
        return CullingPlace(here=here, before=before, after=after, **counts._asdict())


@cache
def _look(where: str, *, is_of_verdict: bool = False, is_unmarked: bool = False) -> Query[CulledImage]:
    place = tuple_(_a.generation_id, _a.index)
    given = tuple_(bindparam("at", type_=CleanText()), bindparam("number", type_=_a.index.type))
    query: Select[*tuple[object, ...]] = (
        select(_a.generation_id, _a.index.label("number"), _a.width, _a.height, _m.verdict, _m.by)
        .select_from(generations.join(assets, _a.generation_id == _g.id).outerjoin(marks, _MARKED))
        .where(*_OF_BATCH, *_IS_IMAGE)
        .limit(1)
    )
    match where:
        case "at":
            query = query.where(place == given)
        case "before":
            query = query.where(place < given).order_by(_a.generation_id.desc(), _a.index.desc())
        case _:
            query = query.where(place > given).order_by(_a.generation_id, _a.index)
    if is_of_verdict:
        query = query.where(_m.verdict == bindparam("verdict"))
    elif is_unmarked:
        query = query.where(_m.verdict.is_(None))
    return Query(CulledImage, query)
