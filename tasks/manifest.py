"""Once a batch is complete, write a file with all its generations to the bucket."""

import functools
import hashlib
import logging
import time
from collections.abc import Iterator
from tempfile import SpooledTemporaryFile
from typing import IO

from worker import telemetry
from worker.archive import manifest_line
from worker.celery import app
from worker.errors import ArchiveError, ConfigurationError, LedgerUnavailable, LedgerUnfit
from worker.ledger.assets import PAGE, BatchClaim
from worker.runtime import LEASE, renewed
from worker.services import Services, services
from worker.steps import Step

log = logging.getLogger(__name__)

#: seconds after which no further manifest is started, so that other work gets its turn
SLICE = 10.0
#: bytes kept in memory
MEMORY_PART = 1024 * 1024


@app.task(name=Step.MANIFEST)
def manifest() -> None:
    """Write all manifests that are due."""
    here = services()
    closing = time.monotonic() + SLICE
    while time.monotonic() < closing and (claim := here.ledger.assets.claim_manifest(LEASE)) is not None:
        began = time.monotonic()
        try:
            with renewed(functools.partial(here.ledger.assets.renew_manifest, claim, LEASE)):
                write(here, claim)
        except (ArchiveError, ConfigurationError) as error:
            # The next one would meet the same error.
            log.warning("postponed the manifest of batch %s: %s", claim.id, error)
            return
        except (LedgerUnavailable, LedgerUnfit):
            raise
        except Exception:
            # Due again after its lease; meanwhile the others are written.
            log.exception("could not write the manifest of batch %s", claim.id)
        else:
            here.ledger.assets.record_manifest(claim)
            telemetry.step(Step.MANIFEST, 1, began)


def write(here: Services, claim: BatchClaim) -> str:
    """Write one line per generation to the batch's key, replacing an earlier manifest; return the key."""
    key = here.archive.keys.manifest(claim.id, claim.name)
    file: IO[bytes]
    with SpooledTemporaryFile(MEMORY_PART) as file:
        digest = hashlib.sha256()
        for line in _lines(here, claim.id):
            digest.update(line)
            file.write(line)
        here.archive.store(
            key,
            file,
            sha256=digest.hexdigest(),
            size=file.tell(),
            content_type="application/jsonl",
            metadata={"batch-id": claim.id},
            filename="manifest.jsonl",
            tags={"batch": claim.name},
            replace=True,
        )
    return key


def _lines(here: Services, batch_id: str) -> Iterator[bytes]:
    ids = here.ledger.assets.generations_of_batch(batch_id)
    for start in range(0, len(ids), PAGE):
        page = ids[start : start + PAGE]
        assets = here.ledger.generations.assets_of(page)
        lineages = here.ledger.generations.lineages(page)
        for generation in here.ledger.generations.get(page):
            yield manifest_line(generation, assets[generation.id], lineages[generation.id])
