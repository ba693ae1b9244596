"""Complete batches with a manifest to write or rewrite."""

import secrets
from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple

from sqlalchemy import bindparam, select, text, update

from worker.ledger.database import Part
from worker.ledger.schema import UNDESCRIBED, batches, generations
from worker.ledger.statements import NOW, Query

_b = batches.c


@dataclass(frozen=True, slots=True)
class BatchClaim:
    """A complete batch, claimed to write its manifest."""

    id: str
    name: str
    lease: str


class _Next(NamedTuple):
    id: str
    name: str


_NEXT = Query(
    _Next,
    select(_b.id, _b.name)
    .where(text(UNDESCRIBED), _b.manifest_not_before.is_(None) | (_b.manifest_not_before <= NOW))
    .order_by(_b.id)
    .limit(1)
    .with_for_update(skip_locked=True),
)
_LEND = (
    update(batches)
    .where(_b.id == bindparam("batch"))
    .values(manifest_lease=bindparam("token"), manifest_not_before=bindparam("until"))
)


class Manifests(Part):
    def claim_manifest(self, lease: timedelta) -> BatchClaim | None:
        """Claim the oldest batch. `lease` is also the wait before a failed manifest is due again."""
        now = self._database.clock()
        with self._database.write() as connection:
            row = _NEXT.first(connection, now=now)
            if row is None:
                return None
            token = secrets.token_hex(8)
            connection.execute(_LEND, {"batch": row.id, "token": token, "until": now + lease})
        return BatchClaim(row.id, row.name, token)

    def renew_manifest(self, claim: BatchClaim, lease: timedelta) -> None:
        """Renew the claim for another `lease`, unless another worker has it or it is no longer needed."""
        mine = update(batches).where(_b.id == claim.id, _b.manifest_lease == claim.lease)
        with self._database.write(under_way=True) as connection:
            connection.execute(mine.values(manifest_not_before=self._database.clock() + lease))

    def generations_of_batch(self, batch_id: str) -> list[str]:
        """Return the ids of all generations of a batch, oldest first."""
        query = select(generations.c.id).where(generations.c.batch_id == batch_id).order_by(generations.c.id)
        with self._database.read() as connection:
            return list(connection.execute(query).scalars())

    def record_manifest(self, claim: BatchClaim) -> bool:
        """Record that the manifest was written.

        Return False if the batch has changed or another worker holds it: the manifest is due again, because a late
        writer may have replaced a newer manifest.
        """
        with self._database.write(under_way=True) as connection:
            this = update(batches).where(_b.id == claim.id)
            mine = this.where(_b.manifest_lease == claim.lease)
            if connection.execute(mine.values(manifest_at=self._database.clock(), manifest_lease=None)).rowcount:
                return True
            connection.execute(this.values(manifest_at=None, manifest_lease=None, manifest_not_before=None))
            return False
