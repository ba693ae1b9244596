"""Results that lie in a bucket and in a ledger, as `archive` leaves them there."""

import hashlib
import io
from concurrent.futures import ThreadPoolExecutor

from tests.factories import LEASE, succeeded
from worker.archive import Archive
from worker.archive.sidecars import sidecar
from worker.generation import Asset
from worker.ledger import Ledger
from worker.ledger.assets import ArchiveClaim, Archived, Stored

#: as many as one call of the ledger's verbs takes
_MOST = 1000


def kept(ledger: Ledger, archive: Archive, count: int, *, batch: str | None = None) -> list[Asset]:
    """So many archived generations with one small picture each, and the sidecar beside it."""
    with ThreadPoolExecutor(8) as pool:
        for start in range(0, count, _MOST):
            succeeded(ledger, min(_MOST, count - start), batch=batch)
            claims = ledger.assets.claim(_MOST, LEASE)
            ledger.assets.record(list(pool.map(lambda claim: _kept(archive, claim), claims)))
    ids = [one.id for one in ledger.generations.page(limit=count)][::-1]
    return [asset for assets in ledger.generations.assets_of(ids).values() for asset in assets]


def _kept(archive: Archive, claim: ArchiveClaim) -> Archived:
    generation = claim.generation
    content = f"the pixels of {generation.id}, ".encode() * 20
    stored = archive.store(
        archive.keys.asset(generation, claim.lineage, 0, "png"),
        io.BytesIO(content),
        sha256=hashlib.sha256(content).hexdigest(),
        size=len(content),
        content_type="image/png",
        metadata={"generation-id": generation.id},
        filename="fox-0.png",
        tags={},
    )
    description = sidecar(generation, claim.assets, claim.lineage)
    key = archive.keys.sidecar(generation, claim.lineage)
    archive.overwrite(key, description, content_type="application/json", metadata={})
    result = Stored(
        index=0,
        object_key=stored.object_key,
        sha256=stored.sha256,
        bytes=stored.bytes,
        content_type=stored.content_type,
        width=16,
        height=16,
    )
    return Archived(claim, (result,), described=True)
