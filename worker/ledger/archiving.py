"""Assets on their way into the bucket: what became of those that a worker held."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import bindparam, func, select, text, update

from worker.generation import MENDED_BY_RESTART, Refused, State, Trouble
from worker.ledger.archive_claims import ArchiveClaim, ArchiveClaims
from worker.ledger.changes import Changes
from worker.ledger.statements import IDS, LIMIT, NOW, update_row
from worker.ledger.tables import REFUSED, UNSTORED, assets


@dataclass(frozen=True, slots=True)
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


@dataclass(frozen=True, slots=True)
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


_a = assets.c
_GIVE_BACK = (
    update(assets)
    .where(_a.generation_id == bindparam("mine"), _a.lease == bindparam("token"), text(UNSTORED))
    .values(lease=None, not_before=None, tries=_a.tries - 1)
)
# What a worker has locked is being recorded; if it is not stored then, it is told of a second later.
_RISKY = (
    select(_a.id)
    .where(text(UNSTORED), _a.deadline <= bindparam("dies_by"), _a.at_risk_at.is_(None))
    .with_for_update(skip_locked=True)
)
_AT_RISK = (
    update(assets)
    .where(_a.id.in_(_RISKY))
    .values(at_risk_at=NOW)
    .returning(_a.generation_id, _a.index, _a.deadline, _a.error)
)
_KINDS = (
    select(_a.generation_id, _a.state, _a.reason, func.max(_a.error).label("error"))
    .where(_a.generation_id.in_(IDS))
    .group_by(_a.generation_id, _a.state, _a.reason)
)
_REFUSED_BYTES = select(func.sum(_a.refused_bytes)).where(text(REFUSED))
# What a worker has locked is looked at now.
_MENDED = (
    select(_a.id)
    .where(text(UNSTORED), _a.lease.is_(None), _a.not_before > NOW, _a.reason.in_(MENDED_BY_RESTART))
    .limit(LIMIT)
    .with_for_update(skip_locked=True)
)
_LOOK_AGAIN = update(assets).where(_a.id.in_(_MENDED)).values(not_before=None)


#: assets that one transaction lets be tried again
_BITE = 500
#: reason and error of an asset
_Why = tuple[str | None, str | None]


class Archiving(ArchiveClaims):
    def look_again(self) -> int:
        """Let all be tried at once that a changed setting or a newer version may have mended; how many."""
        found = 0
        while True:
            with self._database.write() as connection:
                some = connection.execute(_LOOK_AGAIN, {"now": self._database.clock(), "limit": _BITE}).rowcount
            found += some
            if some < _BITE:
                return found

    def refused_bytes(self) -> int:
        """How much lies aside in the bucket, of bytes that were refused."""
        with self._database.read() as connection:
            return int(connection.execute(_REFUSED_BYTES).scalar() or 0)

    def note_risks(self, within: timedelta) -> int:
        """Tell, once per link, of those that die `within` that time and are not stored yet; how many."""
        now = self._database.clock()
        with self._database.write() as connection:
            changes = Changes(connection, now)
            found = connection.execute(_AT_RISK, {"now": now, "dies_by": now + within}).all()
            for row in found:
                facts = {"index": row.index, "deadline": row.deadline.isoformat(), "error": row.error}
                changes.event("asset.at_risk", generation_id=row.generation_id, **facts)
            changes.flush()
        return len(found)

    def record(self, done: Sequence[Archived]) -> frozenset[str]:
        """Write down what happened to each claim; the generations of those that still had their lease.

        One that lost it meanwhile changes nothing.
        """
        now = self._database.clock()
        with self._database.write(under_way=True) as connection:
            changes = Changes(connection, now)
            changes.lock(archived.claim.generation.id for archived in done)
            held = {archived.claim.generation.id: _results(changes, archived) for archived in done}
            kinds: dict[str, dict[str, _Why]] = {generation_id: {} for generation_id in held}
            for row in connection.execute(_KINDS, {"ids": list(held)}):
                kinds[row.generation_id][row.state] = (row.reason, row.error)
            for archived in done:
                if held[archived.claim.generation.id]:
                    _finish(changes, archived, kinds[archived.claim.generation.id])
            changes.flush()
        return frozenset(generation_id for generation_id, is_held in held.items() if is_held)


def _results(changes: Changes, archived: Archived) -> bool:
    """Write down what happened to each asset; False when the lease was lost."""
    claim = archived.claim
    held = [_record(changes, claim, result) for result in archived.results]
    if len(held) < sum(asset.state == "waiting" for asset in claim.assets):
        # Let others take at once what this worker had no time for.
        changes.connection.execute(_GIVE_BACK, {"mine": claim.generation.id, "token": claim.lease})
    return all(held)


def _finish(changes: Changes, archived: Archived, kinds: Mapping[str, _Why]) -> None:
    """`kinds`: the states of all its assets, each with reason and error of one of those in it."""
    generation_id = archived.claim.generation.id
    if set(kinds) == {"stored"} and archived.described:
        changes.move(generation_id, State.ARCHIVED, f"{len(archived.claim.assets)} stored")
    elif "waiting" not in kinds and "expired" in kinds:
        reason, error = kinds["expired"]
        # An older version wrote none.
        reason = reason or Trouble.LINK_DEAD
        changes.move(generation_id, State.EXPIRED, reason.replace("_", " "), reason=reason, message=error)


def _record(changes: Changes, claim: ArchiveClaim, result: Stored | Postponed | Lost) -> bool:
    values: dict[str, Any]
    generation = claim.generation
    payload: dict[str, Any] = {"index": result.index}
    if isinstance(result, Stored):
        values = {
            "state": "stored",
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
            **dict.fromkeys(("reason", "error", "refused_bytes", "refused_sha256", "refused_type")),
            **({} if result.accepted else dict.fromkeys(("refused_why", "accepted_by", "accepted_at"))),
        }
        event = "asset.archived"
        payload |= {"key": result.key, "sha256": result.sha256}
        if result.remark is not None:
            payload |= {"remark": result.remark}
    elif isinstance(result, Lost):
        values = {"state": "expired", "reason": result.reason, "error": result.error}
        event = "asset.expired"
        payload |= {"reason": result.reason, "error": result.error}
    else:
        asset = next(asset for asset in claim.assets if asset.index == result.index)
        values = {"reason": result.reason, "error": result.error}
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
    mine = {"generation_id": generation.id, "index": result.index, "state": "waiting", "lease": claim.lease}
    if update_row(changes.connection, assets, mine, **{"lease": None, **values}) != 1:
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
