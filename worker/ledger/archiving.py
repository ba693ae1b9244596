"""Assets on their way into the bucket: what dies first goes first, and one worker at a time holds a generation."""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Integer, bindparam, func, select, text, update

from worker.generation import Asset, Generation, State
from worker.ledger.changes import Changes
from worker.ledger.database import Database
from worker.ledger.rows import to_asset, to_generation
from worker.ledger.statements import IDS, LIMIT, NOW, update_row
from worker.ledger.tables import NEVER, UNSTORED, assets, batches, generations


@dataclass(frozen=True, slots=True)
class ArchiveClaim:
    """A generation whose waiting assets this worker may fetch; `assets` are all of them, stored ones too."""

    generation: Generation
    batch_name: str | None
    assets: tuple[Asset, ...]
    lease: str


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


_a, _g = assets.c, generations.c
_DUE = _a.not_before.is_(None) | (_a.not_before <= NOW)

_MOST_URGENT = (
    select(generations)
    .where(
        _g.id.in_(
            select(_a.generation_id)
            .where(text(UNSTORED), _DUE, _a.deadline <= bindparam("dies_by"))
            .order_by(_a.deadline)
            .limit(bindparam("links", type_=Integer))
        )
    )
    .order_by(select(func.min(_a.deadline)).where(_a.generation_id == _g.id, text(UNSTORED)).scalar_subquery())
    .limit(LIMIT)
    # The generation's row is the lock: its assets are never split between two workers.
    .with_for_update(skip_locked=True, key_share=True)
)
_LEND = (
    update(assets)
    # Those that wait for another try as well: who works on a generation works on all of it.
    .where(_a.generation_id.in_(IDS), text(UNSTORED), _DUE | _a.lease.is_(None))
    .values(lease=bindparam("token"), not_before=bindparam("until"), tries=_a.tries + 1)
    .returning(_a.generation_id)
)
_GIVE_BACK = (
    update(assets)
    .where(_a.generation_id == bindparam("mine"), _a.lease == bindparam("token"), text(UNSTORED))
    .values(lease=None, not_before=None, tries=_a.tries - 1)
)
_AT_RISK = (
    update(assets)
    .where(text(UNSTORED), _a.deadline <= bindparam("dies_by"), _a.at_risk_at.is_(None))
    .values(at_risk_at=NOW)
    .returning(_a.generation_id, _a.index, _a.deadline, _a.error)
)
_ASSETS_OF = select(assets).where(_a.generation_id.in_(IDS)).order_by(_a.index)
_BATCHES = select(batches.c.id, batches.c.name).where(batches.c.id.in_(IDS))
_KINDS = (
    select(_a.generation_id, _a.state, func.max(_a.error).label("error"))
    .where(_a.generation_id.in_(IDS))
    .group_by(_a.generation_id, _a.state)
)


class Archiving:
    def __init__(self, database: Database) -> None:
        self._database = database

    def claim(self, limit: int, lease: timedelta, within: timedelta | None = None) -> list[ArchiveClaim]:
        """Take the generations whose links die first, or only those of which one dies `within` that time.

        `lease`: longer than the work on one claim can last.
        """
        now = self._database.clock()
        dies_by = NEVER if within is None else now + within
        with self._database.write() as connection:
            # More links than generations, because one has several, and because other workers choose among the same now.
            free = connection.execute(
                _MOST_URGENT, {"now": now, "dies_by": dies_by, "links": limit * 16, "limit": limit}
            )
            found = {row.id: to_generation(row) for row in free}
            if not found:
                return []
            token = secrets.token_hex(8)
            lent = {"now": now, "ids": list(found), "token": token, "until": now + lease}
            held = set(connection.execute(_LEND, lent).scalars())
            belongings: dict[str, list[Asset]] = {generation_id: [] for generation_id in held}
            for row in connection.execute(_ASSETS_OF, {"ids": list(held)}):
                belongings[row.generation_id].append(to_asset(row))
            batch_ids = {found[generation_id].batch_id for generation_id in held}
            names = {row.id: row.name for row in connection.execute(_BATCHES, {"ids": list(batch_ids)})}
        if not held:
            # Others took them all between our look and our lock; what they left is still to be looked at.
            return self.claim(limit, lease, within)
        return [
            ArchiveClaim(
                found[generation_id],
                names.get(found[generation_id].batch_id),
                tuple(belongings[generation_id]),
                token,
            )
            for generation_id in found
            if generation_id in held
        ]

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
        with self._database.write() as connection:
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


def retry_wait(tries: int) -> timedelta:
    """2, 4, 8 … seconds after the n-th try, at most 5 minutes."""
    return timedelta(seconds=min(2 ** min(tries, 9), 300))
