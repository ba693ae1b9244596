"""What lies in the bucket as far as the ledger knows, for those who compare the two."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, bindparam, func, literal_column, select, text

from worker.generation import Asset, Generation, State
from worker.ledger.changes import Changes
from worker.ledger.database import Database
from worker.ledger.rows import to_asset, to_generation
from worker.ledger.statements import IDS, LIMIT, select_in
from worker.ledger.tables import BY_STATE, STORED, assets, batches, generations
from worker.ledger.types import CleanText

#: rows read at once, and keys
PAGE = 500
_KEYS_PAGE = 10_000

_a, _g = assets.c, generations.c
# Also of what a client has withdrawn, whose object was left where it is.
_KEYS = select(_a.id, _a.key).where(_a.key.is_not(None), _a.id > bindparam("after")).order_by(_a.id).limit(LIMIT)
_FIRST_COPY = (
    select(_a.key, _a.bytes, _a.content_type)
    .where(text(STORED), _a.sha256 == bindparam("sha256"))
    .order_by(_a.id)
    .limit(1)
)


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
        """How many assets are stored."""
        with self._database.read() as connection:
            return int(connection.execute(_within(select(func.count()).select_from(assets), extent)).scalar_one())

    def pages(self, extent: Extent) -> Iterator[list[Asset]]:
        """Stored assets, oldest first, a page at a time; each page is a transaction of its own."""
        after = 0
        while page := self._page(_within(select(assets), extent).where(_a.id > after).order_by(_a.id).limit(PAGE)):
            yield page
            after = page[-1].id

    def sample(self, number: int) -> list[Asset]:
        """So many stored assets, chosen at random, or all if there are not more."""
        return self._page(select(assets).where(text(STORED)).order_by(func.random()).limit(number))

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
        with self._database.write(under_way=True) as connection:
            changes = Changes(connection, self._database.clock())
            what = {"index": asset.index, "key": asset.key, "found": found}
            changes.event("asset.repaired", generation_id=asset.generation_id, batch_id=None, **what)
            changes.flush()

    def _page(self, query: Select[Any]) -> list[Asset]:
        with self._database.read() as connection:
            return [to_asset(row) for row in connection.execute(query)]


def _within(query: Select[Any], extent: Extent) -> Select[Any]:
    query = query.where(text(f"assets.{STORED}"))
    if extent.batch_id is None and extent.since is None:
        return query
    query = query.join(generations, _g.id == _a.generation_id)
    if extent.batch_id is not None:
        query = query.where(_g.batch_id == extent.batch_id)
    if extent.since is not None:
        query = query.where(_g.finished_at >= extent.since)
    return query
