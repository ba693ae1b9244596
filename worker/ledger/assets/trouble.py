"""Assets that are not stored: alerts, decisions by people, and dead ones."""

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import bindparam, func, literal_column, select, text, union, update

from worker.errors import RequestInvalid
from worker.generation import FOR_A_PERSON, MENDED_BY_RESTART, Asset, AssetState, State
from worker.ledger.assets.recording import PATIENT_TRIES
from worker.ledger.assets.states import ASSETS
from worker.ledger.changes import Changes, lock_known
from worker.ledger.database import Part
from worker.ledger.rows import ASSET, AssetRow, to_asset
from worker.ledger.schema import (
    BY_STATE,
    REFUSED,
    TROUBLED,
    UNSTORED,
    UNSTORED_OF_THESE,
    CleanText,
    assets,
    generations,
    in_states,
)
from worker.ledger.statements import IDS, LIMIT, NOW, Query, update_row


class WaitingAsset(NamedTuple):
    """An asset that has been tried but is not stored yet. `since`: when its generation succeeded."""

    generation_id: str
    url: str
    error: str
    reason: str | None
    tries: int
    since: datetime


class _AtRisk(NamedTuple):
    generation_id: str
    #: its `index`
    number: int
    deadline: datetime
    error: str | None


class _RiskyOf(NamedTuple):
    batch_id: str | None
    number: int


class _GivenUp(NamedTuple):
    id: str
    finished_at: datetime


_a, _g = assets.c, generations.c
# A worker is recording a locked asset; if it turns out not to be stored, it is reported a second later.
_RISKY = (
    select(_a.id)
    .where(text(UNSTORED), _a.deadline <= bindparam("dies_by"), _a.at_risk_at.is_(None))
    .with_for_update(skip_locked=True)
)
_AT_RISK = Query(
    _AtRisk,
    update(assets)
    .where(_a.id.in_(_RISKY))
    .values(at_risk_at=NOW)
    .returning(_a.generation_id, _a.index.label("number"), _a.deadline, _a.error),
)
_REFUSED_BYTES = select(func.sum(_a.refused_bytes)).where(text(REFUSED))
# An asset that a worker has locked is being handled now.
_MENDED = (
    select(_a.id)
    .where(text(UNSTORED), _a.lease.is_(None), _a.not_before > NOW, _a.reason.in_(MENDED_BY_RESTART))
    .limit(LIMIT)
    .with_for_update(skip_locked=True)
)
_LOOK_AGAIN = update(assets).where(_a.id.in_(_MENDED)).values(not_before=None)


_MAY_BE_STORED = (AssetState.WAITING, AssetState.EXPIRED)
#: the most assets that one transaction releases for a retry
_BITE = 500
TRY_NOW = (
    update(assets)
    .where(assets.c.generation_id.in_(IDS), text(UNSTORED_OF_THESE), assets.c.lease.is_(None))
    .values(not_before=None)
)
# The condition on the state is a query of its own, because both tables have such a column. Each of these generations
# has an expired asset, so the newest are enough.
_EXPIRED = (
    select(_g.id)
    .where(literal_column(BY_STATE, CleanText) == State.EXPIRED)
    .order_by(_g.id.desc())
    .limit(LIMIT)
)  # fmt: skip
_ASSETS = Query(
    AssetRow,
    select(*ASSET)
    .where(_a.generation_id.in_(_EXPIRED), _a.state == AssetState.EXPIRED)
    .order_by(_a.generation_id.desc(), _a.index)
    .limit(LIMIT),
)
_GIVEN_UP = Query(_GivenUp, select(_g.id, _g.finished_at).where(_g.id.in_(IDS)))
_OF_GENERATION = Query(AssetRow, select(*ASSET).where(_a.generation_id == bindparam("of")).with_for_update())
_TRIED = Query(
    WaitingAsset,
    select(
        *(_a.generation_id, _a.url, _a.error, _a.reason, _a.tries),
        func.coalesce(_g.finished_at, _g.created_at).label("since"),
    )
    .join(generations, _g.id == _a.generation_id)
    .where(text(f"{in_states('assets.state', [AssetState.WAITING])} AND assets.error IS NOT NULL"))
    .order_by(_a.deadline)
    .limit(LIMIT),
)
_IS_IN_TROUBLE = _a.reason.is_not(None) & ((_a.tries >= PATIENT_TRIES) | _a.reason.in_(FOR_A_PERSON))
_URGENT = Query(
    AssetRow,
    select(*ASSET)
    .where(text(UNSTORED), (_a.deadline <= bindparam("dies_by")) | _IS_IN_TROUBLE)
    .order_by(_a.deadline, _a.id)
    .limit(LIMIT),
)
# Each query uses its own index and reads no more than it returns. An asset in trouble has an error.
_dying = select(_a.id).where(text(UNSTORED), _a.deadline <= bindparam("dies_by")).order_by(_a.deadline).limit(LIMIT)
_stuck = select(_a.id).where(text(TROUBLED), _IS_IN_TROUBLE).order_by(_a.deadline).limit(LIMIT)
_risky = union(select(_dying.subquery().c.id), select(_stuck.subquery().c.id)).subquery()
_RISKY_OF = Query(
    _RiskyOf,
    select(_g.batch_id, func.count().label("number"))
    .select_from(_risky)
    .join(assets, _a.id == _risky.c.id)
    .join(generations, _g.id == _a.generation_id)
    .group_by(_g.batch_id),
)


class TroubledAssets(Part):
    def retry_mended(self) -> int:
        """Retry at once all assets that a changed setting or a newer version may have fixed; return how many."""
        found = 0
        while True:
            with self._database.write() as connection:
                some = connection.execute(_LOOK_AGAIN, {"now": self._database.clock(), "limit": _BITE}).rowcount
            found += some
            if some < _BITE:
                return found

    def refused_bytes(self) -> int:
        """Return the size of all refused files in the bucket."""
        with self._database.read() as connection:
            return int(connection.execute(_REFUSED_BYTES).scalar() or 0)

    def note_risks(self, within: timedelta) -> int:
        """Report, once per link, unstored assets whose link expires `within` that time; return how many."""
        now = self._database.clock()
        with self._database.write() as connection:
            changes = Changes(connection, now)
            found = _AT_RISK.all(connection, now=now, dies_by=now + within)
            for row in found:
                facts = {"index": row.number, "deadline": row.deadline.isoformat(), "error": row.error}
                changes.event("asset.at_risk", generation_id=row.generation_id, batch_id=None, **facts)
            changes.flush()
        return len(found)

    def accept(self, generation_id: str, indexes: Collection[int], by: str, why: str = "") -> None:
        """Let the archive step store refused files unchanged. Idempotent.

        Raises NotFound, or RequestInvalid for an asset without a refused file; nothing is changed then.
        """
        with self._database.write() as connection:
            changes = Changes(connection, self._database.clock())
            lock_known(changes, [generation_id])
            found = {asset.index: asset for asset in map(to_asset, _OF_GENERATION.all(connection, of=generation_id))}
            for index in indexes:
                asset = found.get(index)
                if asset is not None and asset.accepted is not None:
                    continue
                if asset is None or asset.refused is None or asset.state not in _MAY_BE_STORED:
                    raise RequestInvalid(
                        f"no refused file is kept for asset {index} of {generation_id}; "
                        f"see `darkroom show {generation_id}`; nothing was changed"
                    )
                facts = {"accepted_by": by, "accepted_at": changes.at, "tries": 0, "reason": None}
                update_row(connection, assets, {"id": asset.id}, **facts)
                ASSETS.move(connection, {"id": asset.id}, AssetState.WAITING)
                told = {"by": by, "why": why, "refused": asset.refused.why}
                changes.event("asset.accepted", generation_id=generation_id, batch_id=None, index=index, **told)
            # An asset that a worker currently holds is due again when its lease ends or its result is written.
            connection.execute(TRY_NOW, {"ids": [generation_id]})
            changes.move(generation_id, State.SUCCEEDED, "accepted by a person", reason=None, message=None)
            changes.flush()

    def waiting(self, limit: int) -> list[WaitingAsset]:
        """Return assets that were tried and are not stored, most urgent first."""
        with self._database.read() as connection:
            return _TRIED.all(connection, limit=limit)

    def at_risk(self, dies_by: datetime, limit: int = 1000) -> list[Asset]:
        """Return assets that are not stored and expire by `dies_by`, or repeatedly failed, most urgent first.

        Assets that need a person are included at once.
        """
        with self._database.read() as connection:
            return [to_asset(row) for row in _URGENT.all(connection, dies_by=dies_by, limit=limit)]

    def count_at_risk(self, dies_by: datetime, limit: int = 1000) -> dict[str | None, int]:
        """Count, by batch, the assets that `at_risk` returns, up to `limit` of each kind."""
        with self._database.read() as connection:
            return {row.batch_id: row.number for row in _RISKY_OF.all(connection, dies_by=dies_by, limit=limit)}

    def dead(self, limit: int) -> list[tuple[Asset, datetime]]:
        """Return the assets that expired with their generation, and when, newest first."""
        with self._database.read() as connection:
            rows = _ASSETS.all(connection, limit=limit)
            ended = _GIVEN_UP.each(connection, sorted({row.generation_id for row in rows}))
        at = {row.id: row.finished_at for row in ended}
        return [(to_asset(row), at[row.generation_id]) for row in rows]
