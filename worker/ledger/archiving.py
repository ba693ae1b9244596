"""Assets on their way into the bucket: what became of those that a worker held."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import bindparam, func, select, text, update

from worker.generation import State
from worker.ledger.archive_claims import ArchiveClaim, ArchiveClaims
from worker.ledger.changes import Changes
from worker.ledger.statements import IDS, NOW, update_row
from worker.ledger.tables import UNSTORED, assets


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
    #: what has shown that the bytes are there; for the sidecar, not recorded here
    verified: str | None = None
    #: what is odd about a file that is whole all the same; it is told, and not kept
    remark: str | None = None


@dataclass(frozen=True, slots=True)
class Postponed:
    """Not stored this time. `url` replaces the link when the provider gave a fresh one."""

    index: int
    error: str
    url: str | None = None
    deadline: datetime | None = None


@dataclass(frozen=True, slots=True)
class Lost:
    """The link is dead and the provider gives no other."""

    index: int
    error: str


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
    select(_a.generation_id, _a.state, func.max(_a.error).label("error"))
    .where(_a.generation_id.in_(IDS))
    .group_by(_a.generation_id, _a.state)
)


class Archiving(ArchiveClaims):
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

    def record(self, done: Sequence[Archived]) -> None:
        """Write down what happened to each claim; one that lost its lease meanwhile changes nothing."""
        now = self._database.clock()
        with self._database.write(under_way=True) as connection:
            changes = Changes(connection, now)
            changes.lock(archived.claim.generation.id for archived in done)
            held = {archived.claim.generation.id: _results(changes, archived) for archived in done}
            kinds: dict[str, dict[str, str | None]] = {generation_id: {} for generation_id in held}
            for row in connection.execute(_KINDS, {"ids": list(held)}):
                kinds[row.generation_id][row.state] = row.error
            for archived in done:
                if held[archived.claim.generation.id]:
                    _finish(changes, archived, kinds[archived.claim.generation.id])
            changes.flush()


def _results(changes: Changes, archived: Archived) -> bool:
    """Write down what happened to each asset; False when the lease was lost."""
    claim = archived.claim
    held = [_record(changes, claim, result) for result in archived.results]
    if len(held) < sum(asset.state == "waiting" for asset in claim.assets):
        # Let others take at once what this worker had no time for.
        changes.connection.execute(_GIVE_BACK, {"mine": claim.generation.id, "token": claim.lease})
    return all(held)


def _finish(changes: Changes, archived: Archived, kinds: Mapping[str, str | None]) -> None:
    """`kinds`: the states of all its assets, each with an error of those in it."""
    generation_id = archived.claim.generation.id
    if set(kinds) == {"stored"} and archived.described:
        changes.move(generation_id, State.ARCHIVED, f"{len(archived.claim.assets)} stored")
    elif "waiting" not in kinds and "expired" in kinds:
        changes.move(generation_id, State.EXPIRED, "link dead", reason="link_dead", message=kinds["expired"])


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
            "error": None,
        }
        event = "asset.archived"
        payload |= {"key": result.key, "sha256": result.sha256}
        if result.remark is not None:
            payload |= {"remark": result.remark}
    elif isinstance(result, Lost):
        values = {"state": "expired", "error": result.error}
        event = "asset.expired"
        payload |= {"error": result.error}
    else:
        asset = next(asset for asset in claim.assets if asset.index == result.index)
        wait = retry_wait(asset.tries)
        values = {"not_before": changes.at + wait, "error": result.error}
        if result.url is not None:
            values |= {"url": result.url, "deadline": result.deadline, "renewals": asset.renewals + 1}
        event = None
    mine = {"generation_id": generation.id, "index": result.index, "state": "waiting", "lease": claim.lease}
    if update_row(changes.connection, assets, mine, **{"lease": None, **values}) != 1:
        return False
    if event is not None:
        changes.event(event, generation_id=generation.id, batch_id=generation.batch_id, **payload)
    return True


LONGEST_RETRY_WAIT = timedelta(minutes=5)


def retry_wait(tries: int) -> timedelta:
    """2, 4, 8, 16, then 30 seconds after the n-th try; from the 12th on 5 minutes.

    So an outage of some minutes costs half a minute more, and what fails all day is left alone.
    """
    return timedelta(seconds=min(2**tries, 30)) if tries < 12 else LONGEST_RETRY_WAIT
