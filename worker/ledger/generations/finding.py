"""Finds generations and batches by what people call them: the caller's key, a name, or part of an id.

Uses existing indexes: an id begins with its time, so the beginning of an id is a range of the primary key. Any other
part of an id is searched for among the newest only.
"""

import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, func, select

from worker.generation import Generation
from worker.ledger.database import Part
from worker.ledger.flows import unfinished
from worker.ledger.generations.batch_pages import batches_of
from worker.ledger.rows import GENERATION, GenerationRow, to_generation
from worker.ledger.schema import AnyTable, CleanText, batches, generations, storable
from worker.ledger.statements import IDS, LIMIT, Query, columns_of

#: an id (`new_id`): 12 hexadecimal digits of milliseconds, the first 4 of which stay the same for 50 days, 8 of a
#: counter, and 12 random ones
_ID = re.compile(r"(?:gen|batch)_(?P<same>[0-9a-f]{4})(?P<time>[0-9a-f]{8})(?P<count>[0-9a-f]{8})[0-9a-f]{12}")
_SHORT = re.compile(r"([0-9a-f]{8})-([0-9a-f]{1,8})")
_BEGINNING = re.compile(r"(?:(gen|batch)_)?([0-9a-f]{1,32})")
#: part of the middle or the end of an id, and the number of newest ids to search for it
_MIDDLE, _NEWEST = re.compile(r"[0-9a-f]{4,32}"), 100_000


class Batch(NamedTuple):
    id: str
    name: str
    created_at: datetime
    #: when the last of its generations ended; None while one is still open
    completed_at: datetime | None


class _Found(NamedTuple):
    id: str
    batch_id: str | None


class Keyed(NamedTuple):
    """A generation with a user's key."""

    key: str
    id: str
    batch_id: str | None
    #: None if it was not made from a file
    row_version: int | None


_g, _b = generations.c, batches.c
_FROM, _TO = bindparam("begin", type_=CleanText()), bindparam("end", type_=CleanText())
_BETWEEN = Query(_Found, select(_g.id, _g.batch_id).where(_g.id >= _FROM, _g.id < _TO).order_by(_g.id).limit(LIMIT))
_BATCHES_BETWEEN = (
    select(_b.id).where(_b.id >= _FROM, _b.id < _TO, _b.unfinished_at.is_(None)).order_by(_b.id).limit(LIMIT)
)
_newest = select(_g.id, _g.batch_id).order_by(_g.id.desc()).limit(_NEWEST).subquery()
_WITH_MIDDLE = Query(
    _Found,
    select(_newest)
    .where(_newest.c.id.like(bindparam("like", type_=CleanText())))
    .order_by(_newest.c.id.desc())
    .limit(LIMIT),
)
_OF_KEYS = Query(
    Keyed,
    select(*columns_of(generations, Keyed)).where(_g.key.in_(IDS), _g.key.is_not(None)).order_by(_g.id.desc()),
)
_down = select(_g.id).where(_g.id == bindparam("root", type_=CleanText())).cte("down", recursive=True)
_down = _down.union_all(select(_g.id).where(_g.parent_id == _down.c.id))
_FAMILY = Query(GenerationRow, select(*GENERATION).join(_down, _down.c.id == _g.id).order_by(_g.id.desc()))
_THESE = Query(GenerationRow, select(*GENERATION).where(_g.id.in_(IDS)).order_by(_g.id.desc()))
_BATCHES = Query(Batch, select(*columns_of(batches, Batch)).where(_b.id.in_(IDS)).order_by(_b.id.desc()))


def short_id(id: str) -> str:  # noqa: A002  what it is
    """Return the time and counter of an id, such as `2359182c-2a`, which distinguish it from others of recent weeks."""
    found = _ID.fullmatch(id)
    return id if found is None else f"{found['time']}-{int(found['count'], 16):x}"


def dedupe_of(key: str) -> str:
    """Return the `dedupe` that makes the caller's key belong to one generation."""
    return f"key:{key}"


class Finding(Part):
    def with_keys(self, keys: Sequence[str]) -> dict[str, list[Keyed]]:
        """Return the generations with each key, newest first; each batch may have one, in several versions."""
        wanted = {storable(key): key for key in keys}
        found: dict[str, list[Keyed]] = {}
        with self._database.read() as connection:
            hidden = set(unfinished(connection))
            for row in _OF_KEYS.each(connection, list(wanted)):
                if row.batch_id not in hidden:
                    found.setdefault(wanted[row.key], []).append(row)
        return found

    def family(self, generation_id: str) -> list[Generation]:
        """Return a generation and all of its descendants, newest first."""
        with self._database.read() as connection:
            return [to_generation(row) for row in _FAMILY.all(connection, root=generation_id)]

    def with_part(self, part: str, limit: int) -> list[Generation]:
        """Return some generations whose id begins with `part`, or has this short form; else contains it.

        Newest first.
        """
        with self._database.read() as connection:
            hidden = set(unfinished(connection))
            found: list[str] = []
            for begin, end in _ranges(connection, generations, "gen", part):
                rows = _BETWEEN.all(connection, begin=begin, end=end, limit=limit + 1)
                found += [row.id for row in rows if row.batch_id not in hidden]
            if not found and _MIDDLE.fullmatch(part):
                rows = _WITH_MIDDLE.all(connection, like=f"%{part}%", limit=_NEWEST if hidden else limit)
                found = [row.id for row in rows if row.batch_id not in hidden]
            return [to_generation(row) for row in _THESE.all(connection, ids=found[:limit])]

    def batches_called(self, name: str, limit: int) -> list[Batch]:
        """Return the batches with this id or name; if none, some whose id begins with it or has this short form.

        Newest first.
        """
        with self._database.read() as connection:
            ids = list(batches_of(connection, name))
            if not ids:
                for begin, end in _ranges(connection, batches, "batch", name):
                    values = {"begin": begin, "end": end, "limit": limit}
                    ids += connection.execute(_BATCHES_BETWEEN, values).scalars()
            return _BATCHES.all(connection, ids=ids[:limit])


def _ranges(connection: Connection, table: AnyTable, prefix: str, part: str) -> Iterator[tuple[str, str]]:
    """Yield the ranges of ids that begin with this part, or have this short form."""
    if (short := _SHORT.fullmatch(part)) is not None:
        first, last = _ends(connection, table, prefix)
        digits = f"{short[1]}{int(short[2], 16):08x}"
        for same in range(first, last + 1):
            yield _below(f"{prefix}_{same:04x}{digits}")
    elif (begun := _BEGINNING.fullmatch(part)) is not None and begun[1] in {None, prefix}:
        yield _below(f"{prefix}_{begun[2]}")


def _ends(connection: Connection, table: AnyTable, prefix: str) -> tuple[int, int]:
    """Return the first digits, as numbers, of the oldest and of the newest id."""
    of = table.c.id
    oldest = connection.execute(select(func.min(of)).where(of >= f"{prefix}_0")).scalar()
    newest = connection.execute(select(func.max(of)).where(of < f"{prefix}_g")).scalar()
    first, last = (_ID.fullmatch(str(one or "")) for one in (oldest, newest))
    if first is None or last is None:
        return 0, -1
    return int(first["same"], 16), int(last["same"], 16)


def _below(begin: str) -> tuple[str, str]:
    """Return the range of ids that begin with this: no digit sorts after f in any collation."""
    return begin, f"{begin}g"
