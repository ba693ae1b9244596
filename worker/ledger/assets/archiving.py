"""Assets on their way into the bucket: who may work on which, what dies first goes first, and what became of them."""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import Integer, bindparam, func, select, text, update

from worker.generation import Asset, AssetState, Generation, Refused, State, Trouble
from worker.ledger.assets.states import may_settle
from worker.ledger.bulk import together
from worker.ledger.changes import Changes
from worker.ledger.database import Part
from worker.ledger.query import Query
from worker.ledger.rows import ASSET, BATCH_NAMES, GENERATION, AssetRow, GenerationRow, to_asset, to_generation
from worker.ledger.schema import NEVER, UNSTORED, assets, generations
from worker.ledger.statements import IDS, LIMIT, NOW, select_in


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveClaim:
    """A generation whose waiting assets this worker may fetch; `assets` are all of them, stored ones too."""

    generation: Generation
    batch_name: str | None
    assets: tuple[Asset, ...]
    #: names this claim: the fence
    lease: str
    #: how many workers in a row held it before, and each died or hung until its lease had ended
    deaths: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    index: int
    key: str
    sha256: str
    bytes: int
    content_type: str
    width: int | None = None
    height: int | None = None
    #: the length of a film
    seconds: float | None = None
    #: of the bytes that came, where others were stored
    source_sha256: str | None = None
    #: what has shown that the bytes are there
    verified: str | None = None
    #: what is odd about a file that is whole all the same
    remark: str | None = None
    #: whether they are bytes that had been refused, as a person has accepted them
    accepted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Postponed:
    """Not stored this time; tried again by itself. `url` replaces the link when the provider gave a fresh one."""

    index: int
    error: str
    url: str | None = None
    deadline: datetime | None = None
    reason: Trouble = Trouble.UNEXPECTED
    #: what came this time, was refused and lies aside now
    refused: Refused | None = None
    #: it was no failure, and goes on soon
    goes_on: bool = False


@dataclass(frozen=True, slots=True)
class Lost:
    """Not tried again unless a person asks for it; `reason`: the link is over, or nobody could reach it for long."""

    index: int
    error: str
    reason: Trouble = Trouble.LINK_DEAD
    refused: Refused | None = None


@dataclass(frozen=True, slots=True)
class Archived:
    """What one worker did for one claim. `described`: the sidecar lies beside the assets."""

    claim: ArchiveClaim
    results: tuple[Stored | Postponed | Lost, ...]
    described: bool


class _LeftBehind(NamedTuple):
    generation_id: str
    deaths: int


_a, _g = assets.c, generations.c
# After their generations, in order of id.
_THEIRS = (
    select(_a.id, _a.generation_id, _a.index.label("number"), _a.state, _a.lease, _a.tries, _a.reason, _a.error)
    .where(_a.generation_id.in_(IDS))
    .order_by(_a.id)
    .with_for_update(key_share=True)
)
_DUE = _a.not_before.is_(None) | (_a.not_before <= NOW)
#: whose wait is over that are put back among the others at once
_MOST_BACK = 1000

# Those that wait for another try do not stand in the way of the others: only what waits for nothing has an order.
_WAIT_IS_OVER = select(_a.id).where(text(UNSTORED), _a.not_before <= NOW)
_IS_ANY_OVER = _WAIT_IS_OVER.limit(1)
_OVER = _WAIT_IS_OVER.order_by(_a.not_before).limit(_MOST_BACK).with_for_update(skip_locked=True)
_PUT_BACK = update(assets).where(_a.id.in_(_OVER)).values(not_before=None)
_MOST_URGENT = Query(
    GenerationRow,
    select(*GENERATION)
    .where(
        _g.id.in_(
            select(_a.generation_id)
            .where(text(UNSTORED), _a.not_before.is_(None), _a.deadline <= bindparam("dies_by"))
            # In the words of the index.
            .order_by(_a.not_before, _a.deadline)
            .limit(bindparam("links", type_=Integer))
        )
    )
    .order_by(select(func.min(_a.deadline)).where(_a.generation_id == _g.id, text(UNSTORED)).scalar_subquery())
    .limit(LIMIT)
    # The generation's row is the lock: its assets are never split between two workers.
    .with_for_update(skip_locked=True, key_share=True),
)
_LEND = (
    update(assets)
    # Those that wait for another try as well: who works on a generation works on all of it.
    .where(_a.generation_id.in_(IDS), text(UNSTORED), _DUE | _a.lease.is_(None))
    .values(lease=bindparam("token"), deaths=bindparam("died"), not_before=bindparam("until"), tries=_a.tries + 1)
    .returning(_a.generation_id)
)
# The lease is the fence: of what another worker has taken over, nothing changes.
_HELD = (
    select(_a.id)
    .where(_a.generation_id.in_(IDS), _a.lease.in_(bindparam("tokens", expanding=True)), text(UNSTORED))
    .with_for_update(skip_locked=True)
)
_RENEW = update(assets).where(_a.id.in_(_HELD)).values(not_before=bindparam("until"))
# A result takes the lease away, so one that is left belongs to a worker that told none.
_LEFT_BEHIND = Query(
    _LeftBehind,
    select(_a.generation_id, func.max(_a.deaths).label("deaths"))
    .where(_a.generation_id.in_(IDS), text(UNSTORED), _a.lease.is_not(None), _DUE)
    .group_by(_a.generation_id),
)
_ASSETS_OF = Query(AssetRow, select(*ASSET).where(_a.generation_id.in_(IDS)).order_by(_a.index))


class Archiving(Part):
    def claim(
        self, limit: int, lease: timedelta, within: timedelta | None = None, *, suspects: bool = True
    ) -> list[ArchiveClaim]:
        """Take the generations whose links die first, or only those of which one dies `within` that time.

        `suspects`: those too that a worker held when it died. Such a one comes alone, and must be worked on alone.
        """
        self._put_back()
        with self._database.write() as connection:
            now = self._database.clock()
            dies_by = NEVER if within is None else now + within
            # More links than generations, because one has several, and because other workers choose among the same now.
            free = _MOST_URGENT.all(connection, now=now, dies_by=dies_by, links=limit * 16, limit=limit)
            found = {row.id: to_generation(row) for row in free}
            if not found:
                return []
            left_behind = _LEFT_BEHIND.all(connection, ids=list(found), now=now)
            deaths = {row.generation_id: row.deaths + 1 for row in left_behind}
            chosen = _to_be_taken(list(found), deaths, suspects=suspects)
            if not chosen:
                return []
            token = secrets.token_hex(8)
            # One that was left behind is taken alone.
            died = deaths.get(chosen[0], 0)
            lent = {"now": now, "ids": chosen, "token": token, "died": died, "until": now + lease}
            held = set(connection.execute(_LEND, lent).scalars())
            belongings: dict[str, list[Asset]] = {generation_id: [] for generation_id in held}
            for row in _ASSETS_OF.all(connection, ids=list(held)):
                belongings[row.generation_id].append(to_asset(row))
            batch_ids = {found[generation_id].batch_id for generation_id in held}
            names: dict[str | None, str] = {row.id: row.name for row in BATCH_NAMES.each(connection, list(batch_ids))}
        if not held:
            # Others took them all between our look and our lock; what they left is still to be looked at.
            return self.claim(limit, lease, within, suspects=suspects)
        return [
            ArchiveClaim(
                generation=found[generation_id],
                batch_name=names.get(found[generation_id].batch_id),
                assets=tuple(belongings[generation_id]),
                lease=token,
                deaths=died,
            )
            for generation_id in found
            if generation_id in held
        ]

    def _put_back(self) -> None:
        """A transaction of its own: a claim that held the assets of others would wait for theirs in a circle."""
        now = {"now": self._database.clock()}
        with self._database.read() as connection:
            if connection.execute(_IS_ANY_OVER, now).first() is None:
                return
        with self._database.write() as connection:
            connection.execute(_PUT_BACK, now)

    def renew(self, claims: Sequence[ArchiveClaim], lease: timedelta) -> None:
        """Hold these claims for another `lease`; one that lost its own meanwhile changes nothing."""
        ids, tokens = [claim.generation.id for claim in claims], [claim.lease for claim in claims]
        with self._database.write(under_way=True) as connection:
            connection.execute(_RENEW, {"ids": ids, "tokens": tokens, "until": self._database.clock() + lease})

    def record(self, done: Sequence[Archived]) -> frozenset[str]:
        """Write down what happened to each claim; the generations of those that still had their lease.

        One that lost it meanwhile changes nothing.
        """
        return frozenset(together(self._record, done))

    def _record(self, done: Sequence[Archived]) -> list[str]:
        with self._database.write(under_way=True) as connection:
            changes = Changes(connection, self._database.clock())
            theirs = _Assets(changes, [archived.claim.generation.id for archived in done])
            held = {archived.claim.generation.id: _results(theirs, archived) for archived in done}
            for archived in done:
                if held[archived.claim.generation.id]:
                    _finish(theirs, archived)
            changes.flush()
        return [generation_id for generation_id, is_held in held.items() if is_held]


@dataclass(frozen=True, slots=True)
class _Asset:
    """As it was read, or is after the changes so far."""

    id: int
    index: int
    state: AssetState
    lease: str | None
    tries: int
    reason: str | None
    error: str | None


class _Assets:
    """All assets of some generations, which are locked with them."""

    def __init__(self, changes: Changes, generation_ids: Sequence[str]) -> None:
        self.changes = changes
        ids = sorted(changes.lock(generation_ids))
        self._of: dict[str, dict[int, _Asset]] = {generation_id: {} for generation_id in ids}
        for row in select_in(changes.connection, _THEIRS, ids):
            state = AssetState(row.state)
            asset = _Asset(row.id, row.number, state, row.lease, row.tries, row.reason, row.error)
            self._of[row.generation_id][asset.index] = asset

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
        """Take the lease from an asset, and set values with it; False when the claim has lost it."""
        asset = self._of[claim.generation.id].get(index)
        if asset is None or asset.lease != claim.lease or not may_settle(asset.state, to):
            return False
        after = replace(asset, state=to, lease=None, reason=reason, error=error)
        new = {"state": to, "lease": None, "reason": reason, "error": error, **values}
        self.changes.updates.set(assets, asset.id, {"state": asset.state, "lease": asset.lease}, new)
        self._of[claim.generation.id][index] = after
        return True


def _results(theirs: _Assets, archived: Archived) -> bool:
    """Write down what happened to each asset; False when the lease was lost."""
    claim = archived.claim
    held = [_record(theirs, claim, result) for result in archived.results]
    if len(held) < sum(asset.state is AssetState.WAITING for asset in claim.assets):
        # Let others take at once what this worker had no time for.
        for asset in theirs.of(claim.generation.id):
            same = {"reason": asset.reason, "error": asset.error}
            theirs.settle(claim, asset.index, AssetState.WAITING, **same, not_before=None, tries=asset.tries - 1)
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
        # An older version wrote none.
        reason = reason or Trouble.LINK_DEAD
        theirs.changes.move(
            generation_id, State.EXPIRED, reason.replace("_", " "), reason=reason, message=error or None
        )


def _record(theirs: _Assets, claim: ArchiveClaim, result: Stored | Postponed | Lost) -> bool:
    changes = theirs.changes
    values: dict[str, object]
    generation = claim.generation
    payload: dict[str, object] = {"index": result.index}
    to = AssetState.WAITING
    if isinstance(result, Stored):
        to = AssetState.STORED
        values = {
            "key": result.key,
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
        }
        event = "asset.archived"
        payload |= {"key": result.key, "sha256": result.sha256}
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
            # Nobody has seen these.
            values |= dict.fromkeys(("accepted_by", "accepted_at"))
    reason, error = (None, None) if isinstance(result, Stored) else (result.reason, result.error)
    if not theirs.settle(claim, result.index, to, reason=reason, error=error, **values):
        return False
    if event is not None:
        changes.event(event, generation_id=generation.id, batch_id=generation.batch_id, **payload)
    return True


FIRST_WAIT = timedelta(seconds=2)
LONGEST_RETRY_WAIT = timedelta(hours=6)
LATER_WAIT = timedelta(minutes=5)
#: bytes that were wrong so many times are not likely to get better
PATIENT_TRIES = 6
#: before what costs a whole download, or a worker
_COSTLY_WAIT = timedelta(hours=1)


def retry_wait(tries: int, age: timedelta, left: timedelta, reason: str | None = None) -> timedelta:
    """2, 4, 8, 16, then 30 seconds after the n-th try; from the 12th on an eighth of its age, 5 minutes to 6 hours.

    So an outage of some minutes costs half a minute more, and what fails for days is left alone. A link that still
    has time `left` is tried at least three times more before its end.
    """
    wait = FIRST_WAIT * 2 ** (tries - 1) if tries < 5 else timedelta(seconds=30)
    if tries >= 12:
        wait = min(max(LATER_WAIT, age / 8), LONGEST_RETRY_WAIT)
    if (reason == Trouble.BAD_CONTENT and tries >= PATIENT_TRIES) or reason == Trouble.WORKER_DIED:
        wait = max(wait, _COSTLY_WAIT)
    return min(wait, max(LATER_WAIT, left / 4)) if left > timedelta() else wait


def _to_be_taken(ids: Sequence[str], deaths: Mapping[str, int], *, suspects: bool) -> Sequence[str]:
    """All that are not suspected; or the first alone if it is: should it kill again, no other suffers with it."""
    if suspects and ids[0] in deaths:
        return ids[:1]
    return [generation_id for generation_id in ids if generation_id not in deaths]
