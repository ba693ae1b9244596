"""What the ledger says is in the bucket, for comparing the two."""

import random
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, Executable, bindparam, func, literal_column, select, text

from worker.generation import Asset, Generation, Lineage, State, ThumbnailState
from worker.ledger.assets.thumbnails import THUMBNAILS
from worker.ledger.changes import Changes
from worker.ledger.database import Part
from worker.ledger.lineage import lineages_of
from worker.ledger.rows import ASSET, GENERATION, AssetRow, GenerationRow, Id, names_of_batches, to_asset, to_generation
from worker.ledger.schema import BY_STATE, STORED, WITH_RESULTS, CleanText, UtcDateTime, assets, generations, inputs
from worker.ledger.statements import IDS, LIMIT, Query, columns_of

#: rows read at once (a quarter as many generations, because each has several assets), and keys
PAGE = 500
_KEYS_PAGE = 10_000
#: above this number, assets are estimated instead of counted
_COUNTED = 5000
#: the most ids to try at once for a sample
_TRIED = 5000
#: neighboring rows per run of a sample: each isolated row of a large table costs a separate page
_RUN = 8


class _Key(NamedTuple):
    id: int
    object_key: str


class Copy(NamedTuple):
    """An object that a stored asset points to."""

    object_key: str
    bytes: int
    content_type: str


class _Ended(NamedTuple):
    id: str
    finished_at: datetime


_a, _g = assets.c, generations.c
# Includes deleted assets whose object was left in place.
_KEYS = Query(
    _Key,
    select(_a.id, _a.object_key)
    .where(_a.object_key.is_not(None), _a.id > bindparam("after"))
    .order_by(_a.id)
    .limit(LIMIT),
)
_INPUT_KEYS = select(inputs.c.object_key)
_FIRST_COPY = Query(
    Copy,
    select(*columns_of(assets, Copy)).where(text(STORED), _a.sha256 == bindparam("sha256")).order_by(_a.id).limit(1),
)
_BATCH = bindparam("batch", type_=CleanText())
_AT = bindparam("at", type_=UtcDateTime())
_AFTER = bindparam("after", type_=CleanText())
_IS_STORED = select(*ASSET).where(text(STORED))
_STORED = Query(AssetRow, _IS_STORED)
_STORED_IDS = Query(AssetRow, _IS_STORED.where(_a.id.in_(IDS)))
_STORED_OF = Query(AssetRow, _IS_STORED.where(_a.generation_id.in_(IDS)).order_by(_a.id))
_PAGE = Query(AssetRow, _IS_STORED.where(_a.id > bindparam("after")).order_by(_a.id).limit(LIMIT))
_OF_BATCH = Query(
    _Ended,
    select(_g.id, _g.finished_at)
    .where(_g.batch_id == _BATCH, _g.state == bindparam("state", type_=CleanText()), _g.id > _AFTER)
    .order_by(_g.id)
    .limit(LIMIT),
)
# Many generations end in one transaction, with the same time.
_SINCE = Query(
    _Ended,
    select(_g.id, _g.finished_at)
    .where(text(WITH_RESULTS), _g.finished_at >= _AT, (_g.finished_at > _AT) | (_g.id > _AFTER))
    .order_by(_g.finished_at, _g.id)
    .limit(LIMIT),
)
_COUNT = select(func.count()).select_from(assets).where(text(STORED))
_COUNT_OF = _COUNT.where(_a.generation_id.in_(IDS))
_EXISTING = Query(Id, select(_g.id).where(_g.id.in_(IDS)))
_BEING_ARCHIVED = Query(
    GenerationRow,
    select(*GENERATION)
    .where(literal_column(BY_STATE, CleanText) == State.SUCCEEDED, _g.id > _AFTER)
    .order_by(_g.id)
    .limit(LIMIT),
)
_random = random.SystemRandom()


@dataclass(frozen=True, slots=True)
class Extent:
    """A selection of stored assets: all, a batch's, or the assets of generations that ended at or after `since`."""

    batch_id: str | None = None
    since: datetime | None = None


class StoredAssets(Part):
    def count_stored(self, extent: Extent) -> int:
        """Count stored assets; for all assets of a large ledger, return an upper bound."""
        if extent != Extent():
            return sum(self._number(_COUNT_OF, ids=ids) for ids in self._generations(extent))
        with self._database.read() as connection:
            first, last = _ends(connection)
        return last - first + 1 if last - first >= _COUNTED else self._number(_COUNT)

    def stored_pages(self, extent: Extent) -> Iterator[list[Asset]]:
        """Yield stored assets, each at least once, in pages; each page is a separate transaction."""
        if extent != Extent():
            yield from filter(None, (self._page(_STORED_OF, ids=ids) for ids in self._generations(extent)))
            return
        after = 0
        while page := self._page(_PAGE, after=after, limit=PAGE):
            yield page
            after = page[-1].id

    def stored_of(self, generation_ids: Sequence[str]) -> list[Asset]:
        """Return the stored assets of these generations."""
        with self._database.read() as connection:
            return [to_asset(row) for row in _STORED_OF.each(connection, generation_ids)]

    def _generations(self, extent: Extent) -> Iterator[list[str]]:
        """Yield the ids of generations that may have stored assets, in pages."""
        starts: list[dict[str, object]] = [{"at": extent.since}]
        if extent.batch_id is not None:
            # A generation moves from the first of these states to the others, never back.
            states = (State.SUCCEEDED, State.EXPIRED, State.ARCHIVED)
            starts = [{"batch": extent.batch_id, "state": state} for state in states]
        query = _SINCE if extent.batch_id is None else _OF_BATCH
        for start in starts:
            place = {**start, "after": "", "limit": max(1, PAGE // 4)}
            while rows := self._ended(query, place):
                yield [row.id for row in rows]
                place |= {"at": rows[-1].finished_at, "after": rows[-1].id}

    def sample_stored(self, number: int) -> list[Asset]:
        """Return up to this many stored assets, chosen at random in short runs of neighboring rows."""
        found: dict[int, Asset] = {}
        tried: set[int] = set()
        with self._database.read() as connection:
            first, last = _ends(connection)
            # Nearly every id belongs to a stored asset, so few attempts miss.
            while len(found) < number and 2 * len(tried) < last - first:
                some = _runs(first, last, min(number - len(found) + 10, _TRIED)) - tried
                tried |= some
                found.update((row.id, to_asset(row)) for row in _STORED_IDS.all(connection, ids=sorted(some)))
            if len(found) < number:
                found = {row.id: to_asset(row) for row in _STORED.all(connection)}
        return _random.sample(list(found.values()), min(number, len(found)))

    def known_keys(self, keys: Collection[str]) -> set[str]:
        """Return those keys that belong to assets or input files, in one pass however many keys there are."""
        wanted = set(keys)
        after = 0
        with self._database.read() as connection:
            found = wanted.intersection(connection.execute(_INPUT_KEYS).scalars())
        while True:
            with self._database.read() as connection:
                rows = _KEYS.all(connection, after=after, limit=_KEYS_PAGE)
            if not rows:
                return found
            found.update(row.object_key for row in rows if row.object_key in wanted)
            after = rows[-1].id

    def existing_generations(self, generation_ids: Sequence[str]) -> set[str]:
        """Return the ids that belong to generations."""
        with self._database.read() as connection:
            return {row.id for row in _EXISTING.each(connection, generation_ids)}

    def being_archived(self) -> Iterator[tuple[Generation, Lineage]]:
        """Yield generations whose assets are being archived, each with its lineage."""
        after = ""
        while True:
            with self._database.read() as connection:
                rows = _BEING_ARCHIVED.all(connection, after=after, limit=PAGE)
                lineages = lineages_of(connection, [row.id for row in rows])
            if not rows:
                return
            after = rows[-1].id
            yield from ((to_generation(row), lineages[row.id]) for row in rows)

    def batch_names(self, batch_ids: Collection[str | None]) -> dict[str | None, str]:
        with self._database.read() as connection:
            return names_of_batches(connection, batch_ids)

    def first_copy(self, sha256: str) -> Copy | None:
        """Return the object of the first stored asset with these bytes."""
        with self._database.read() as connection:
            return _FIRST_COPY.first(connection, sha256=sha256)

    def note_repair(self, asset: Asset, found: str) -> None:
        """Record that an asset's object was restored; `found`: what was wrong with it."""
        with self._database.write(under_way=True) as connection:
            changes = Changes(connection, self._database.clock())
            what = {"index": asset.index, "object_key": asset.object_key, "found": found}
            changes.event("asset.repaired", generation_id=asset.generation_id, batch_id=None, **what)
            missed = {"id": asset.id, "thumbnail": ThumbnailState.MISSING}
            THUMBNAILS.move(connection, missed, ThumbnailState.WANTED, thumbnail_at=changes.at)
            changes.flush()

    def _ended(self, query: Query[_Ended], place: Mapping[str, object]) -> list[_Ended]:
        with self._database.read() as connection:
            return query.all(connection, **place)

    def _page(self, query: Query[AssetRow], **values: object) -> list[Asset]:
        with self._database.read() as connection:
            rows = query.all(connection, **values)
        return [to_asset(row) for row in rows]

    def _number(self, query: Executable, **values: object) -> int:
        with self._database.read() as connection:
            return int(connection.execute(query, values).scalar_one())


def _runs(first: int, last: int, number: int) -> set[int]:
    """Return about `number` ids, each with the same probability."""
    starts = (_random.randint(first - _RUN + 1, last) for _ in range(-(-number // _RUN)))
    return {one for start in starts for one in range(max(start, first), min(start + _RUN, last + 1))}


def _ends(connection: Connection) -> tuple[int, int]:
    """Return the first and the last asset id."""
    first, last = (connection.execute(select(end(_a.id))).scalar() for end in (func.min, func.max))
    return first or 0, last or -1
