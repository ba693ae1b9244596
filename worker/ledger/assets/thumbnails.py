"""Thumbnails of stored images: requests, claims and results, and the hashes of a batch's images."""

import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from sqlalchemy import bindparam, select, text, update

from worker.generation import THUMBNAIL_MOVES, Asset, AssetState, ThumbnailState
from worker.ledger.database import Part
from worker.ledger.moves import Machine
from worker.ledger.rows import ASSET, AssetRow, signed, to_asset, unsigned
from worker.ledger.schema import STORED, UNMADE, CleanText, assets, generations
from worker.ledger.statements import IDS, LIMIT, NOW, Query, columns_of, update_row

THUMBNAILS = Machine(assets.c.thumbnail, THUMBNAIL_MOVES)

#: the due time of thumbnails that somebody is viewing: before all that have waited since they were archived
_FIRST = datetime(2000, 1, 1, tzinfo=UTC)
_FIRST_WAIT = timedelta(seconds=5)
LONGEST_THUMBNAIL_WAIT = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class ThumbnailClaim:
    """An image whose thumbnail this worker may make."""

    asset: Asset
    #: identifies this claim; the fencing token
    lease: str
    #: how often it was tried before, and whether the last worker left no result
    tries: int
    was_left_behind: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ThumbnailMade:
    """`colour`: the average, 0xRRGGBB; `dhash`: 64 bits; `bytes`, `width` and `height`: of the thumbnail."""

    colour: int
    dhash: int
    bytes: int
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class ThumbnailResult:
    """`found`: the thumbnail; or the final state without one; or None to retry later."""

    claim: ThumbnailClaim
    found: ThumbnailMade | ThumbnailState | None


class Fingerprint(NamedTuple):
    """An image of a batch; `dhash`: None until its thumbnail is made."""

    generation_id: str
    #: its `index`
    number: int
    dhash: int | None


class _Withdrawn(NamedTuple):
    id: int


class _Waiting(NamedTuple):
    id: int
    thumbnail_lease: str | None
    thumbnail_tries: int


_a, _g = assets.c, generations.c
_DUE = (text(UNMADE), _a.thumbnail_at <= NOW)
_IS_IMAGE = _a.content_type.like("image/%")
_NEXT = Query(
    _Waiting,
    select(*columns_of(assets, _Waiting))
    .where(*_DUE)
    .order_by(_a.thumbnail_at, _a.id)
    .limit(LIMIT)
    .with_for_update(skip_locked=True),
)
_LEND = (
    update(assets)
    .where(_a.id.in_(IDS), text(UNMADE))
    .values(thumbnail_lease=bindparam("token"), thumbnail_at=bindparam("until"), thumbnail_tries=_a.thumbnail_tries + 1)
)
_OF_IDS = Query(AssetRow, select(*ASSET).where(_a.id.in_(IDS)).order_by(_a.id))
_MINE = (_a.id.in_(IDS), _a.thumbnail_lease.in_(bindparam("tokens", expanding=True)), text(UNMADE))
_RENEW = update(assets).where(*_MINE).values(thumbnail_at=bindparam("until"))
_GIVE_BACK = (
    update(assets).where(*_MINE).values(thumbnail_lease=None, thumbnail_at=NOW, thumbnail_tries=_a.thumbnail_tries - 1)
)
# Not worded as in the index, because these are looked up by id.
_ARE_STORED_IMAGES = (_a.id.in_(IDS), _a.state == AssetState.STORED, _IS_IMAGE)
_WAITS_BEHIND = (_a.thumbnail == ThumbnailState.WANTED) & _a.thumbnail_lease.is_(None) & (_a.thumbnail_tries == 0)
_WORTH_ASKING = select(_a.id).where(
    *_ARE_STORED_IMAGES, _a.thumbnail.is_(None) | (_WAITS_BEHIND & (_a.thumbnail_at > bindparam("first")))
)
_WANT = THUMBNAILS.update_to(ThumbnailState.WANTED).where(*_ARE_STORED_IMAGES, _a.thumbnail.is_(None))
_WANT = _WANT.values(thumbnail_at=bindparam("first"))
_BRING_FORWARD = update(assets).where(_a.id.in_(IDS), text(UNMADE), _WAITS_BEHIND)
_BRING_FORWARD = _BRING_FORWARD.values(thumbnail_at=bindparam("first"))
_WITHDRAWN = Query(_Withdrawn, select(_a.id).where(_a.id.in_(IDS), _a.state == AssetState.DELETED))
_USED = select(_a.object_key).where(
    text(STORED), _a.sha256 == bindparam("sha256"), _a.object_key == bindparam("object_key", type_=CleanText())
)
_FINGERPRINTS = Query(
    Fingerprint,
    select(_a.generation_id, _a.index.label("number"), _a.dhash)
    .join(generations, _g.id == _a.generation_id)
    .where(_g.batch_id == bindparam("batch", type_=CleanText()), _a.state == AssetState.STORED, _IS_IMAGE)
    # In the order of the index: by id alone, PostgreSQL would scan the generations of all batches.
    .order_by(_g.state, _g.id, _a.index)
    .limit(LIMIT),
)


class Thumbnails(Part):
    def claim_thumbnails(self, limit: int, lease: timedelta) -> list[ThumbnailClaim]:
        """Claim images whose thumbnail is wanted: first those that somebody is viewing, then the oldest."""
        token = secrets.token_hex(8)
        with self._database.write() as connection:
            now = self._database.clock()
            waiting = {row.id: row for row in _NEXT.all(connection, now=now, limit=limit)}
            if not waiting:
                return []
            connection.execute(_LEND, {"ids": [*waiting], "token": token, "until": now + lease})
            found = [to_asset(row) for row in _OF_IDS.all(connection, ids=[*waiting])]
        return [
            ThumbnailClaim(
                asset=asset,
                lease=token,
                tries=waiting[asset.id].thumbnail_tries,
                was_left_behind=waiting[asset.id].thumbnail_lease is not None,
            )
            for asset in found
        ]

    def renew_thumbnails(self, claims: Sequence[ThumbnailClaim], lease: timedelta) -> None:
        """Renew these claims for another `lease`; a claim that was lost in the meantime is not regained."""
        with self._database.write(under_way=True) as connection:
            connection.execute(_RENEW, {**_named(claims), "until": self._database.clock() + lease})

    def give_back_thumbnails(self, claims: Sequence[ThumbnailClaim]) -> None:
        """Release these claims, so that other workers may make the thumbnails immediately."""
        with self._database.write(under_way=True) as connection:
            connection.execute(_GIVE_BACK, {**_named(claims), "now": self._database.clock()})

    def record_thumbnails(self, done: Sequence[ThumbnailResult]) -> list[str]:
        """Record each result; return the object keys of images that have been deleted and that no other asset uses.

        A result that arrives too late changes nothing.
        """
        late: list[Asset] = []
        with self._database.write(under_way=True) as connection:
            now = self._database.clock()
            for one in sorted(done, key=lambda one: one.claim.asset.id):
                asset, lease = one.claim.asset, one.claim.lease
                mine = {"id": asset.id, "thumbnail_lease": lease, "state": AssetState.STORED}
                if one.found is None:
                    at = now + _wait(one.claim.tries)
                    update_row(connection, assets, mine, thumbnail_lease=None, thumbnail_at=at)
                    continue
                state, values = ThumbnailState.MADE, {}
                if isinstance(one.found, ThumbnailMade):
                    values = _values(one.found)
                else:
                    state = one.found
                if not THUMBNAILS.move(connection, mine, state, thumbnail_lease=None, thumbnail_at=None, **values):
                    late.append(asset)
            ids = [asset.id for asset in late]
            withdrawn = {row.id for row in _WITHDRAWN.each(connection, ids)} if ids else set()
            gone = [asset for asset in late if asset.id in withdrawn]
            used = {
                asset.object_key
                for asset in gone
                if connection.execute(_USED, {"sha256": asset.sha256, "object_key": asset.object_key}).first()
            }
        return [str(asset.object_key) for asset in gone if asset.object_key not in used]

    def want_thumbnails(self, asset_ids: Collection[int]) -> bool:
        """Request the missing thumbnails of these images ahead of all others; return False if there is nothing to do.

        Thumbnails that could not be made, or are being retried, are left alone.
        """
        these = {"ids": sorted(asset_ids), "first": _FIRST}
        if not asset_ids:
            return False
        # Of thousands of viewers of the same page, only one writes.
        with self._database.read() as connection:
            if connection.execute(_WORTH_ASKING, these).first() is None:
                return False
        with self._database.write() as connection:
            connection.execute(_WANT, these)
            connection.execute(_BRING_FORWARD, these)
        return True

    def want_thumbnail_again(self, asset_id: int) -> None:
        """Request again, ahead of all others, a thumbnail whose object is missing."""
        lost = {"id": asset_id, "thumbnail": ThumbnailState.MADE, "state": AssetState.STORED}
        with self._database.write() as connection:
            THUMBNAILS.move(connection, lost, ThumbnailState.WANTED, thumbnail_at=_FIRST, thumbnail_tries=0)

    def fingerprints(self, batch_id: str, limit: int) -> list[Fingerprint]:
        """Return the stored images of a batch; among generations in the same state, oldest first."""
        with self._database.read() as connection:
            rows = _FINGERPRINTS.all(connection, batch=batch_id, limit=limit)
        return [row._replace(dhash=unsigned(row.dhash)) for row in rows]


def _named(claims: Sequence[ThumbnailClaim]) -> dict[str, object]:
    return {"ids": [claim.asset.id for claim in claims], "tokens": [claim.lease for claim in claims]}


def _values(made: ThumbnailMade) -> dict[str, object]:
    return {
        "colour": made.colour,
        "dhash": signed(made.dhash),
        "thumbnail_bytes": made.bytes,
        "thumbnail_width": made.width,
        "thumbnail_height": made.height,
    }


def _wait(tries: int) -> timedelta:
    """Return 5, 10, 20 … seconds after each try, up to an hour."""
    return min(_FIRST_WAIT * (1 << min(tries, 10)), LONGEST_THUMBNAIL_WAIT)
