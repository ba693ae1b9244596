"""What lies in the bucket as far as the ledger knows, for those who compare the two."""

import random
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, Select, bindparam, func, literal_column, select, text

from worker.generation import Asset, Generation, State
from worker.ledger.changes import Changes
from worker.ledger.database import Database
from worker.ledger.rows import to_asset, to_generation
from worker.ledger.statements import IDS, LIMIT, select_in
from worker.ledger.tables import BY_STATE, STORED, WITH_RESULTS, assets, batches, generations
from worker.ledger.types import CleanText, UtcDateTime

#: rows read at once (of generations, which have several assets: a fourth of it), and keys
PAGE = 500
_KEYS_PAGE = 10_000
#: so many assets are counted one by one
_COUNTED = 5000
#: ids that are tried at once for a sample, at the most
_TRIED = 5000

_a, _g = assets.c, generations.c
# Also of what a client has withdrawn, whose object was left where it is.
_KEYS = select(_a.id, _a.key).where(_a.key.is_not(None), _a.id > bindparam("after")).order_by(_a.id).limit(LIMIT)
_FIRST_COPY = (
    select(_a.key, _a.bytes, _a.content_type)
    .where(text(STORED), _a.sha256 == bindparam("sha256"))
    .order_by(_a.id)
    .limit(1)
)
_BATCH = bindparam("batch", type_=CleanText())
_AT = bindparam("at", type_=UtcDateTime())
_AFTER = bindparam("after", type_=CleanText())
_STORED = select(assets).where(text(STORED))
_STORED_OF = _STORED.where(_a.generation_id.in_(IDS))
_OF_BATCH = (
    select(_g.id)
    .where(_g.batch_id == _BATCH, _g.state == bindparam("state", type_=CleanText()), _g.id > _AFTER)
    .order_by(_g.id)
    .limit(LIMIT)
)
# Many end in one transaction, at the same time.
_SINCE = (
    select(_g.id, _g.finished_at)
    .where(text(WITH_RESULTS), _g.finished_at >= _AT, (_g.finished_at > _AT) | (_g.id > _AFTER))
    .order_by(_g.finished_at, _g.id)
    .limit(LIMIT)
)
_COUNT = select(func.count()).select_from(assets).where(text(STORED))
# The conditions on the states stand apart, because both tables have such a column.
_COUNT_OF_BATCH = _COUNT.where(_a.generation_id.in_(select(_g.id).where(_g.batch_id == _BATCH)))
_COUNT_SINCE = _COUNT.where(_a.generation_id.in_(select(_g.id).where(text(WITH_RESULTS), _g.finished_at >= _AT)))
_random = random.SystemRandom()


@dataclass(frozen=True, slots=True)
class Extent:
    """Which stored assets are meant: all, those of a batch, or those of generations that ended since then."""

    batch_id: str | None = None
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Copy:
    """An object that a stored asset points to."""

    key: str
    bytes: int
    content_type: str


class Inventory:
    def __init__(self, database: Database) -> None:
        self._database = database

    def count(self, extent: Extent) -> int:
        """How many assets are stored; of a large ledger as a whole only how many there are at the most."""
        with self._database.read() as connection:
            if extent.batch_id is None and extent.since is None:
                first, last = _ends(connection)
                if last - first >= _COUNTED:
                    return last - first + 1
            return int(connection.execute(_counting(extent), _facts(extent)).scalar_one())

    def pages(self, extent: Extent) -> Iterator[list[Asset]]:
        """Stored assets, each at least once, a page at a time; each page is a transaction of its own."""
        if extent.batch_id is not None:
            # A generation goes from the first of these states to the others, never back.
            for state in (State.SUCCEEDED, State.EXPIRED, State.ARCHIVED):
                facts = {"batch": extent.batch_id, "state": state}
                yield from self._pages_of(_OF_BATCH, facts, lambda row: {"after": row.id}, {"after": ""})
        elif extent.since is not None:
            start = {"at": extent.since, "after": ""}
            yield from self._pages_of(_SINCE, {}, lambda row: {"at": row.finished_at, "after": row.id}, start)
        else:
            after = 0
            while page := self._page(_STORED.where(_a.id > after).order_by(_a.id).limit(PAGE)):
                yield page
                after = page[-1].id

    def _pages_of(
        self,
        generations_of: Select[Any],
        facts: Mapping[str, Any],
        place: Callable[[Row[Any]], dict[str, Any]],
        start: dict[str, Any],
    ) -> Iterator[list[Asset]]:
        """The stored assets of these generations; `place`: where the page behind a row begins."""
        while True:
            with self._database.read() as connection:
                limit = {"limit": max(1, PAGE // 4)}
                rows = connection.execute(generations_of, {**facts, **start, **limit}).all()
                if not rows:
                    return
                found = connection.execute(_STORED_OF.order_by(_a.id), {"ids": [row.id for row in rows]})
                page = [to_asset(row) for row in found]
            if page:
                yield page
            start = place(rows[-1])

    def sample(self, number: int) -> list[Asset]:
        """So many stored assets, chosen at random, or all if there are not more."""
        found: dict[int, Asset] = {}
        tried: set[int] = set()
        with self._database.read() as connection:
            first, last = _ends(connection)
            # Nearly every id is that of a stored asset, so few are tried in vain.
            while len(found) < number and 2 * len(tried) < last - first:
                some = {_random.randint(first, last) for _ in range(min(number - len(found) + 10, _TRIED))} - tried
                tried |= some
                rows = connection.execute(_STORED.where(_a.id.in_(IDS)), {"ids": list(some)})
                found.update((row.id, to_asset(row)) for row in rows)
            if len(found) < number:
                found = {row.id: to_asset(row) for row in connection.execute(_STORED)}
        return _random.sample(list(found.values()), min(number, len(found)))

    def known(self, keys: Collection[str]) -> set[str]:
        """Those of the keys that an asset has; one pass over the assets, however many keys there are."""
        wanted = set(keys)
        found: set[str] = set()
        after = 0
        while True:
            with self._database.read() as connection:
                rows = connection.execute(_KEYS, {"after": after, "limit": _KEYS_PAGE}).all()
            if not rows:
                return found
            found.update(row.key for row in rows if row.key in wanted)
            after = rows[-1].id

    def existing(self, generation_ids: Sequence[str]) -> set[str]:
        """Those of the ids that generations have."""
        with self._database.read() as connection:
            return {row.id for row in select_in(connection, select(_g.id).where(_g.id.in_(IDS)), generation_ids)}

    def unfinished(self) -> Iterator[tuple[Generation, str | None]]:
        """Generations whose assets are on their way into the bucket, each with the name of its batch."""
        query = select(generations).where(literal_column(BY_STATE, CleanText) == State.SUCCEEDED)
        after = ""
        while True:
            with self._database.read() as connection:
                rows = connection.execute(query.where(_g.id > after).order_by(_g.id).limit(PAGE)).all()
            if not rows:
                return
            after = rows[-1].id
            names = self.batch_names({row.batch_id for row in rows})
            yield from ((to_generation(row), names.get(row.batch_id)) for row in rows)

    def batch_names(self, batch_ids: Collection[str | None]) -> dict[str | None, str]:
        query = select(batches.c.id, batches.c.name).where(batches.c.id.in_(IDS))
        with self._database.read() as connection:
            return {row.id: row.name for row in select_in(connection, query, [one for one in batch_ids if one])}

    def first_copy(self, sha256: str) -> Copy | None:
        """The object of the first stored asset that has these bytes."""
        with self._database.read() as connection:
            row = connection.execute(_FIRST_COPY, {"sha256": sha256}).first()
        return Copy(row.key, row.bytes, row.content_type) if row else None

    def note_repair(self, asset: Asset, found: str) -> None:
        """Write down that the object of an asset was put back; `found`: what was wrong with it."""
        with self._database.write() as connection:
            changes = Changes(connection, self._database.clock())
            what = {"index": asset.index, "key": asset.key, "found": found}
            changes.event("asset.repaired", generation_id=asset.generation_id, batch_id=None, **what)
            changes.flush()

    def _page(self, query: Select[Any]) -> list[Asset]:
        with self._database.read() as connection:
            return [to_asset(row) for row in connection.execute(query)]


def _ends(connection: Connection) -> tuple[int, int]:
    """The first and the last id of all assets."""
    first, last = (connection.execute(select(end(_a.id))).scalar() for end in (func.min, func.max))
    return first or 0, last or -1


def _counting(extent: Extent) -> Select[Any]:
    if extent.batch_id is not None:
        return _COUNT_OF_BATCH
    return _COUNT if extent.since is None else _COUNT_SINCE


def _facts(extent: Extent) -> dict[str, Any]:
    return {"batch": extent.batch_id, "at": extent.since}
