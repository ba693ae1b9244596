"""The results of a worker's claimed assets: stored, to be retried later, or lost."""

import functools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import select

from worker.generation import AssetState, Refused, State, ThumbnailState, Trouble
from worker.ledger.assets.archiving import ArchiveClaim
from worker.ledger.assets.states import may_settle
from worker.ledger.changes import Changes
from worker.ledger.database import Part
from worker.ledger.schema import Tally, assets
from worker.ledger.statements import IDS, Query, columns_of, together
from worker.ledger.tallies import LINK_LIFE_BOUNDS, TallyKey, bound_of, tally


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    index: int
    object_key: str
    sha256: str
    bytes: int
    content_type: str
    width: int | None = None
    height: int | None = None
    #: the length of a video
    seconds: float | None = None
    #: of the received bytes, if different bytes were stored
    source_sha256: str | None = None
    #: how the stored bytes were verified
    verified: str | None = None
    #: what is unusual about a file that is nevertheless complete
    remark: str | None = None
    #: whether these are refused bytes that a person has accepted
    accepted: bool = False
    #: whether the asset was already in the bucket, so that its link was not needed
    found: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Postponed:
    """Not stored this time; retried automatically. `url` replaces the link if the provider issued a new one."""

    index: int
    error: str
    url: str | None = None
    deadline: datetime | None = None
    reason: Trouble = Trouble.UNEXPECTED
    #: what arrived this time, was refused, and is kept aside
    refused: Refused | None = None
    #: whether this was not a failure: archiving continues soon
    goes_on: bool = False


@dataclass(frozen=True, slots=True)
class Lost:
    """Not retried unless a person asks for it. `reason`: the link expired, or was unreachable for too long."""

    index: int
    error: str
    reason: Trouble = Trouble.LINK_DEAD
    refused: Refused | None = None


@dataclass(frozen=True, slots=True)
class Archived:
    """What one worker did for one claim. `described`: whether the sidecar is stored beside the assets."""

    claim: ArchiveClaim
    results: tuple[Stored | Postponed | Lost, ...]
    described: bool


class _Asset(NamedTuple):
    """An asset as it was read, with the changes so far."""

    id: int
    generation_id: str
    #: its `index`, which is the name of a tuple method
    number: int
    state: AssetState
    lease: str | None
    tries: int
    reason: str | None
    error: str | None


_a = assets.c
# Locked after their generations, in order of id.
_THEIRS = Query(
    _Asset,
    select(*columns_of(assets, _Asset, number="index"))
    .where(_a.generation_id.in_(IDS))
    .order_by(_a.id)
    .with_for_update(key_share=True),
)


class Recording(Part):
    def record(self, done: Sequence[Archived], *, thumbnails: bool = False) -> frozenset[str]:
        """Record the results of each claim; return the generations whose claims still held their lease.

        A claim that has lost its lease changes nothing. `thumbnails`: request one for each stored image.
        """
        return frozenset(together(functools.partial(self._record, thumbnails=thumbnails), done))

    def _record(self, done: Sequence[Archived], *, thumbnails: bool) -> list[str]:
        with self._database.write(under_way=True) as connection:
            changes = Changes(connection, self._database.clock())
            theirs = _Assets(changes, [archived.claim.generation.id for archived in done])
            held = {
                archived.claim.generation.id: _results(theirs, archived, thumbnails=thumbnails) for archived in done
            }
            for archived in done:
                if held[archived.claim.generation.id]:
                    _finish(theirs, archived)
            changes.flush()
            tally(connection, theirs.link_lives)
        return [generation_id for generation_id, is_held in held.items() if is_held]


class _Assets:
    """All assets of some generations, locked together with them."""

    def __init__(self, changes: Changes, generation_ids: Sequence[str]) -> None:
        self.changes = changes
        #: of stored assets
        self.link_lives = Counter[TallyKey]()
        ids = sorted(changes.lock(generation_ids))
        self._of: dict[str, dict[int, _Asset]] = {generation_id: {} for generation_id in ids}
        for row in _THEIRS.each(changes.connection, ids):
            self._of[row.generation_id][row.number] = row._replace(state=AssetState(row.state))

    def of(self, generation_id: str) -> list[_Asset]:
        return [*self._of[generation_id].values()]

    def settle(
        self,
        claim: ArchiveClaim,
        index: int,
        to: AssetState,
        *,
        reason: str | None,
        error: str | None,
        **values: object,
    ) -> bool:
        """Release the lease of an asset and set values with it; return False if the claim has lost the lease."""
        asset = self._of[claim.generation.id].get(index)
        if asset is None or asset.lease != claim.lease or not may_settle(asset.state, to):
            return False
        after = asset._replace(state=to, lease=None, reason=reason, error=error)
        new = {"state": to, "lease": None, "reason": reason, "error": error, **values}
        self.changes.updates.set(assets, asset.id, {"state": asset.state, "lease": asset.lease}, new)
        self._of[claim.generation.id][index] = after
        return True


def _results(theirs: _Assets, archived: Archived, *, thumbnails: bool) -> bool:
    """Record what happened to each asset; return False if the lease was lost."""
    claim = archived.claim
    held = [_record(theirs, claim, result, thumbnails=thumbnails) for result in archived.results]
    for result, is_held in zip(archived.results, held, strict=True):
        if is_held and isinstance(result, Stored) and not (result.accepted or result.found):
            theirs.link_lives.update(_link_life(claim, result.index, theirs.changes.at))
    if len(held) < sum(asset.state is AssetState.WAITING for asset in claim.assets):
        # Other workers may immediately claim what this worker had no time for.
        for asset in theirs.of(claim.generation.id):
            same = {"reason": asset.reason, "error": asset.error}
            theirs.settle(claim, asset.number, AssetState.WAITING, **same, not_before=None, tries=asset.tries - 1)
    return all(held)


def _finish(theirs: _Assets, archived: Archived) -> None:
    generation_id = archived.claim.generation.id
    found = theirs.of(generation_id)
    states = {asset.state for asset in found}
    if states == {AssetState.STORED} and archived.described:
        theirs.changes.move(generation_id, State.ARCHIVED, f"{len(archived.claim.assets)} stored")
    elif AssetState.WAITING not in states and AssetState.EXPIRED in states:
        whys = [(asset.reason or "", asset.error or "") for asset in found if asset.state is AssetState.EXPIRED]
        reason, error = max(whys)
        # Older versions wrote none.
        reason = reason or Trouble.LINK_DEAD
        theirs.changes.move(
            generation_id, State.EXPIRED, reason.replace("_", " "), reason=reason, message=error or None
        )


def _record(theirs: _Assets, claim: ArchiveClaim, result: Stored | Postponed | Lost, *, thumbnails: bool) -> bool:
    changes = theirs.changes
    values: dict[str, object]
    generation = claim.generation
    payload: dict[str, object] = {"index": result.index}
    to = AssetState.WAITING
    if isinstance(result, Stored):
        to = AssetState.STORED
        values = {
            "object_key": result.object_key,
            "sha256": result.sha256,
            "bytes": result.bytes,
            "content_type": result.content_type,
            "width": result.width,
            "height": result.height,
            "seconds": result.seconds,
            "source_sha256": result.source_sha256,
            "verified": result.verified,
            "remark": result.remark,
            **dict.fromkeys(("refused_bytes", "refused_sha256", "refused_type")),
            **({} if result.accepted else dict.fromkeys(("refused_why", "accepted_by", "accepted_at"))),
            **(_wanted(result, changes.at) if thumbnails else {}),
        }
        event = "asset.archived"
        payload |= {"object_key": result.object_key, "sha256": result.sha256}
        if result.remark is not None:
            payload |= {"remark": result.remark}
    elif isinstance(result, Lost):
        to = AssetState.EXPIRED
        values = {}
        event = "asset.expired"
        payload |= {"reason": result.reason, "error": result.error}
    else:
        asset = next(asset for asset in claim.assets if asset.index == result.index)
        values = {}
        if result.goes_on:
            values["tries"] = asset.tries - 1
            wait = FIRST_WAIT
        elif result.url is None:
            age = changes.at - (generation.finished_at or generation.created_at)
            wait = retry_wait(asset.tries, age, asset.deadline - changes.at, result.reason)
        else:
            values |= {"url": result.url, "deadline": result.deadline, "renewals": asset.renewals + 1}
            wait = FIRST_WAIT
        values["not_before"] = changes.at + wait
        event = None
    if not isinstance(result, Stored) and result.refused is not None:
        values |= {f"refused_{name}": getattr(result.refused, name) for name in ("bytes", "sha256", "type", "why")}
        before = next(asset for asset in claim.assets if asset.index == result.index).refused
        if before is None or before.sha256 != result.refused.sha256:
            # Nobody has reviewed these bytes.
            values |= dict.fromkeys(("accepted_by", "accepted_at"))
    reason, error = (None, None) if isinstance(result, Stored) else (result.reason, result.error)
    if not theirs.settle(claim, result.index, to, reason=reason, error=error, **values):
        return False
    if event is not None:
        changes.event(event, generation_id=generation.id, batch_id=generation.batch_id, **payload)
    return True


def _link_life(claim: ArchiveClaim, index: int, at: datetime) -> Mapping[TallyKey, int]:
    """Count the share of the link's life that was left, from success to expiry; empty for an asset without a link."""
    generation = claim.generation
    asset = next(asset for asset in claim.assets if asset.index == index)
    if not asset.url:
        return {}
    life = asset.deadline - (generation.finished_at or generation.created_at)
    left = (asset.deadline - at) / life if life > timedelta() else 0.0
    left = min(1.0, max(0.0, left))
    return {
        TallyKey(Tally.LINK_LIFE, generation.provider, bound_of(LINK_LIFE_BOUNDS, left)): 1,
        TallyKey(Tally.LINK_LIFE_MILLIONTHS, generation.provider, ""): round(left * 1_000_000),
    }


def _wanted(result: Stored, at: datetime) -> dict[str, object]:
    """Request a thumbnail for an image: it is stored for the first time, so it has none yet."""
    is_image = result.content_type.startswith("image/")
    return {"thumbnail": ThumbnailState.WANTED, "thumbnail_at": at} if is_image else {}


FIRST_WAIT = timedelta(seconds=2)
LONGEST_RETRY_WAIT = timedelta(hours=6)
LATER_WAIT = timedelta(minutes=5)
#: bytes that were wrong this many times are unlikely to improve
PATIENT_TRIES = 6
#: before a retry that may cost a whole download, or a worker
_COSTLY_WAIT = timedelta(hours=1)


def retry_wait(tries: int, age: timedelta, left: timedelta, reason: str | None = None) -> timedelta:
    """Return 2, 4, 8, 16, then 30 seconds after the n-th try; from the 12th, an eighth of `age`, 5 minutes to 6 hours.

    An outage of a few minutes costs half a minute more, and an asset that fails for days is rarely retried. A link that
    still has time `left` is tried at least three more times before it expires.
    """
    wait = FIRST_WAIT * 2 ** (tries - 1) if tries < 5 else timedelta(seconds=30)
    if tries >= 12:
        wait = min(max(LATER_WAIT, age / 8), LONGEST_RETRY_WAIT)
    if (reason == Trouble.BAD_CONTENT and tries >= PATIENT_TRIES) or reason == Trouble.WORKER_DIED:
        wait = max(wait, _COSTLY_WAIT)
    return min(wait, max(LATER_WAIT, left / 4)) if left > timedelta() else wait
