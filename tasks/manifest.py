"""Once a batch is complete, write its manifest and, if the settings say so, its results to the bucket."""

import functools
import hashlib
import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from tempfile import SpooledTemporaryFile, TemporaryFile
from typing import IO

from tasks.usecases.batches.results import Format, Output, ResultsRequest, export_results
from worker import telemetry
from worker.archive import manifest_line
from worker.celery import app
from worker.errors import ArchiveError, ConfigurationError, LedgerUnavailable, LedgerUnfit, RequestInvalid
from worker.ledger.assets import PAGE, BatchClaim
from worker.runtime import LEASE, renewed
from worker.services import Services, services
from worker.steps import Step

log = logging.getLogger(__name__)

#: seconds after which no further manifest is started, to let other work run
SLICE = 10.0
#: time for the results of one batch, far below the time limit of a task; and the part of it for making thumbnails
RESULTS, THUMBNAILS = timedelta(seconds=40), timedelta(seconds=20)
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
                write_results(here, claim)
        except (ArchiveError, ConfigurationError) as error:
            # The next one would fail with the same error.
            log.warning("postponed the manifest of batch %s: %s", claim.id, error)
            return
        except (LedgerUnavailable, LedgerUnfit):
            raise
        except Exception:
            # It is due again after its lease; meanwhile, the others are written.
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


def write_results(here: Services, claim: BatchClaim) -> None:
    """Put the formats of DARKROOM_BATCH_RESULTS beside the manifest, replacing earlier ones."""
    if not here.settings.batch_results:
        return
    with ExitStack() as files:
        outputs = [Output(Format(one), files.enter_context(TemporaryFile())) for one in here.settings.batch_results]
        request = ResultsRequest(batch=claim.id, outputs=outputs, thumbnails_within=THUMBNAILS)
        try:
            export_results(here, request, _in_time)
        except (_TooLong, RequestInvalid) as error:
            # It would be no different next time.
            log.warning(
                "batch %s has no results beside its manifest: %s; use `darkroom batch results`", claim.id, error
            )
            return
        for output in outputs:
            _store_results(here, claim, output)


def _store_results(here: Services, claim: BatchClaim, output: Output) -> None:
    size = output.stream.seek(0, os.SEEK_END)
    output.stream.seek(0)
    here.archive.store(
        here.archive.keys.results(claim.id, claim.name, output.format),
        output.stream,
        sha256=hashlib.file_digest(output.stream, "sha256").hexdigest(),  # type: ignore[arg-type]
        size=size,
        content_type=output.format.content_type,
        metadata={"batch-id": claim.id},
        filename=f"results.{output.format}",
        tags={"batch": claim.name},
        replace=True,
    )


class _TooLong(Exception):
    """The results would outlast the time limit of a task."""


@contextmanager
def _in_time(_: int) -> Iterator[Callable[[], None]]:
    ends = time.monotonic() + RESULTS.total_seconds()

    def tick() -> None:
        if time.monotonic() > ends:
            raise _TooLong(f"they take longer than {RESULTS.total_seconds():.0f} s")

    yield tick


def _lines(here: Services, batch_id: str) -> Iterator[bytes]:
    ids = here.ledger.assets.generations_of_batch(batch_id)
    for start in range(0, len(ids), PAGE):
        page = ids[start : start + PAGE]
        assets = here.ledger.generations.assets_of(page)
        lineages = here.ledger.generations.lineages(page)
        for generation in here.ledger.generations.get(page):
            yield manifest_line(generation, assets[generation.id], lineages[generation.id])
