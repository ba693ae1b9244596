"""Assets on their way into the bucket: what dies first goes first, and one worker at a time holds a generation."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, select, text, update

from worker.generation import Asset, Generation, State
from worker.ledger.changes import Changes
from worker.ledger.database import Database
from worker.ledger.rows import to_asset, to_generation
from worker.ledger.tables import UNSTORED, assets, batches, generations


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
    width: int | None
    height: int | None


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


class Archiving:
    def __init__(self, database: Database) -> None:
        self._database = database

    def claim(self, limit: int, lease: timedelta) -> list[ArchiveClaim]:
        """Take the generations whose links die first. `lease`: longer than the work on one claim can last."""
        now = self._database.clock()
        a, g = assets.c, generations.c
        due = a.not_before.is_(None) | (a.not_before <= now)
        with self._database.write() as connection:
            # The generation's row is the lock: its assets are never split between two workers. Taken in the same
            # statement, so that a second worker goes on to the next ones instead of finding the same and nothing free.
            urgent = connection.execute(
                select(a.generation_id)
                .join(generations, g.id == a.generation_id)
                .where(text(f"assets.{UNSTORED}"), due)
                .order_by(a.deadline)
                .limit(limit * 4)
                .with_for_update(skip_locked=True, key_share=True, of=generations)
            ).scalars()
            ids = list(dict.fromkeys(urgent))[:limit]
            if not ids:
                return []
            rows_of = connection.execute(select(generations).where(g.id.in_(ids)))
            found = {row.id: to_generation(row) for row in rows_of}
            token = secrets.token_hex(8)
            taken = connection.execute(
                update(assets)
                # Those that wait for another try as well: who works on a generation works on all of it.
                .where(a.generation_id.in_(ids), text(UNSTORED), due | a.lease.is_(None))
                .values(lease=token, not_before=now + lease, tries=a.tries + 1)
                .returning(a.generation_id)
            ).scalars()
            held = set(taken)
            belongings: dict[str, list[Asset]] = {generation_id: [] for generation_id in held}
            rows = connection.execute(select(assets).where(a.generation_id.in_(list(held))).order_by(a.index))
            for row in rows:
                belongings[row.generation_id].append(to_asset(row))
            batch_ids = {found[generation_id].batch_id for generation_id in held}
            named = connection.execute(select(batches.c.id, batches.c.name).where(batches.c.id.in_(batch_ids)))
            names = {row.id: row.name for row in named}
        return [
            ArchiveClaim(
                found[generation_id],
                names.get(found[generation_id].batch_id),
                tuple(belongings[generation_id]),
                token,
            )
            for generation_id in ids
            if generation_id in held
        ]

    def record(self, done: Sequence[Archived]) -> None:
        """Write down what happened to each claim; one that lost its lease meanwhile changes nothing."""
        now = self._database.clock()
        with self._database.write() as connection:
            changes = Changes(connection, now)
            changes.lock(archived.claim.generation.id for archived in done)
            for archived in done:
                generation = archived.claim.generation
                held = [_record(changes, archived.claim, result) for result in archived.results]
                _give_back(changes, archived.claim)
                if not all(held):
                    continue
                errors = dict(
                    connection.execute(
                        select(assets.c.state, func.max(assets.c.error))
                        .where(assets.c.generation_id == generation.id)
                        .group_by(assets.c.state)
                    ).tuples()
                )
                if set(errors) == {"stored"} and archived.described:
                    changes.move(generation.id, State.ARCHIVED, f"{len(archived.claim.assets)} stored")
                elif "waiting" not in errors and "expired" in errors:
                    message = errors["expired"]
                    changes.move(generation.id, State.EXPIRED, "link dead", reason="link_dead", message=message)
            changes.flush()


def _give_back(changes: Changes, claim: ArchiveClaim) -> None:
    """Let others take at once what this worker had no time for."""
    mine = update(assets).where(assets.c.generation_id == claim.generation.id, assets.c.lease == claim.lease)
    changes.connection.execute(mine.where(text(UNSTORED)).values(lease=None, not_before=None, tries=assets.c.tries - 1))


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
            values |= {"url": result.url, "deadline": result.deadline, "renewals": assets.c.renewals + 1}
        event = None
    held = changes.connection.execute(
        update(assets)
        .where(
            assets.c.generation_id == generation.id,
            assets.c.index == result.index,
            assets.c.state == "waiting",
            assets.c.lease == claim.lease,
        )
        .values(lease=None, **values)
    )
    if held.rowcount != 1:
        return False
    if event is not None:
        changes.event(event, generation_id=generation.id, batch_id=generation.batch_id, **payload)
    return True


def retry_wait(tries: int) -> timedelta:
    """2, 4, 8 … seconds after the n-th try, at most 5 minutes."""
    return timedelta(seconds=min(2 ** min(tries, 9), 300))
