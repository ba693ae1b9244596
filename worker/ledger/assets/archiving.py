"""Claims on assets to be archived, in the order in which their links expire."""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple

from sqlalchemy import Integer, bindparam, func, select, text, update

from worker.generation import Asset, Generation, Lineage
from worker.ledger.database import Part
from worker.ledger.lineage import lineages_of_known
from worker.ledger.rows import ASSET, GENERATION, AssetRow, GenerationRow, names_of_batches, to_asset, to_generation
from worker.ledger.schema import NEVER, UNSTORED, UNSTORED_OF_THESE, Tally, assets, generations
from worker.ledger.statements import IDS, LIMIT, NOW, Query
from worker.ledger.tallies import TallyKey, tally


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveClaim:
    """A generation whose waiting assets this worker may fetch. `assets`: all of them, including stored ones."""

    generation: Generation
    lineage: Lineage
    assets: tuple[Asset, ...]
    #: identifies this claim; the fencing token
    lease: str
    #: how many consecutive earlier holders died, or hung until their lease ended
    deaths: int = 0


class _LeftBehind(NamedTuple):
    generation_id: str
    deaths: int


_a, _g = assets.c, generations.c
_DUE = _a.not_before.is_(None) | (_a.not_before <= NOW)
#: at most this many assets whose wait is over are put back among the others at once
_MOST_BACK = 1000

# Assets that wait for a retry must not delay the others: only assets without a wait are ordered by deadline.
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
            # The same columns as in the index.
            .order_by(_a.not_before, _a.deadline)
            .limit(bindparam("links", type_=Integer))
        )
    )
    .order_by(select(func.min(_a.deadline)).where(_a.generation_id == _g.id, text(UNSTORED_OF_THESE)).scalar_subquery())
    .limit(LIMIT)
    # The generation's row is the lock: its assets are never split between two workers.
    .with_for_update(skip_locked=True, key_share=True),
)
_LEND = (
    update(assets)
    # Includes assets that wait for a retry: a worker processes all of a generation.
    .where(_a.generation_id.in_(IDS), text(UNSTORED_OF_THESE), _DUE | _a.lease.is_(None))
    .values(lease=bindparam("token"), deaths=bindparam("died"), not_before=bindparam("until"), tries=_a.tries + 1)
    .returning(_a.generation_id)
)
# The lease is the fencing token: a generation that another worker has taken over is not changed.
_HELD = (
    select(_a.id)
    .where(_a.generation_id.in_(IDS), _a.lease.in_(bindparam("tokens", expanding=True)), text(UNSTORED_OF_THESE))
    .with_for_update(skip_locked=True)
)
_RENEW = update(assets).where(_a.id.in_(_HELD)).values(not_before=bindparam("until"))
# Recording a result removes the lease, so a remaining lease belongs to a worker that recorded none.
_LEFT_BEHIND = Query(
    _LeftBehind,
    select(_a.generation_id, func.max(_a.deaths).label("deaths"))
    .where(_a.generation_id.in_(IDS), text(UNSTORED_OF_THESE), _a.lease.is_not(None), _DUE)
    .group_by(_a.generation_id),
)
_ASSETS_OF = Query(AssetRow, select(*ASSET).where(_a.generation_id.in_(IDS)).order_by(_a.index))


class Archiving(Part):
    def claim(
        self, limit: int, lease: timedelta, within: timedelta | None = None, *, suspects: bool = True
    ) -> list[ArchiveClaim]:
        """Claim the generations whose links expire first. `within`: only those with a link that expires in that time.

        `suspects`: include generations that a worker held when it died. A suspect is returned alone, and must be
        processed alone.
        """
        self._put_back()
        with self._database.write() as connection:
            now = self._database.clock()
            dies_by = NEVER if within is None else now + within
            # More links than generations: a generation has several, and other workers are choosing among the same.
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
            # A generation that a worker left behind is claimed alone.
            died = deaths.get(chosen[0], 0)
            lent = {"now": now, "ids": chosen, "token": token, "died": died, "until": now + lease}
            held = set(connection.execute(_LEND, lent).scalars())
            tally(connection, {TallyKey(Tally.RECOVERIES, "", "archive"): len(held) if died else 0})
            belongings: dict[str, list[Asset]] = {generation_id: [] for generation_id in held}
            for row in _ASSETS_OF.all(connection, ids=list(held)):
                belongings[row.generation_id].append(to_asset(row))
            names = names_of_batches(connection, (found[generation_id].batch_id for generation_id in held))
            lineages = lineages_of_known(connection, [found[one] for one in held], names)
        if not held:
            # Other workers claimed all of them between our query and our lock; the rest must still be checked.
            return self.claim(limit, lease, within, suspects=suspects)
        return [
            ArchiveClaim(
                generation=found[generation_id],
                lineage=lineages[generation_id],
                assets=tuple(belongings[generation_id]),
                lease=token,
                deaths=died,
            )
            for generation_id in found
            if generation_id in held
        ]

    def _put_back(self) -> None:
        """Put back assets whose wait is over, in a separate transaction: concurrent claims would deadlock otherwise."""
        now = {"now": self._database.clock()}
        with self._database.read() as connection:
            if connection.execute(_IS_ANY_OVER, now).first() is None:
                return
        with self._database.write() as connection:
            connection.execute(_PUT_BACK, now)

    def renew(self, claims: Sequence[ArchiveClaim], lease: timedelta) -> None:
        """Renew these claims for another `lease`; a claim that was lost in the meantime is not regained."""
        ids, tokens = [claim.generation.id for claim in claims], [claim.lease for claim in claims]
        with self._database.write(under_way=True) as connection:
            connection.execute(_RENEW, {"ids": ids, "tokens": tokens, "until": self._database.clock() + lease})


def _to_be_taken(ids: Sequence[str], deaths: Mapping[str, int], *, suspects: bool) -> Sequence[str]:
    """Return all that are not suspects, or only the first if it is one: if it kills again, no other suffers."""
    if suspects and ids[0] in deaths:
        return ids[:1]
    return [generation_id for generation_id in ids if generation_id not in deaths]
