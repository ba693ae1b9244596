"""Download each asset, store it, write down where; then the generation is done."""

import functools
import time
from dataclasses import replace
from datetime import timedelta

from worker.archive import object_key, sidecar, sidecar_key
from worker.bells import ring_if_due
from worker.celery import app
from worker.deadline import deadline_of
from worker.draining import drain
from worker.errors import (
    ArchiveError,
    ConfigurationError,
    ContentInvalid,
    DownloadError,
    LinkDead,
    LinkForbidden,
    QueryFailed,
)
from worker.generation import Asset, Status
from worker.images import inspect
from worker.ledger.archiving import ArchiveClaim, Archived, Lost, Postponed, Stored
from worker.services import Services, services

LEASE = timedelta(seconds=95)
THREADS = 8
#: seconds after which a claim gives back the assets that are left, well within its lease
PATIENCE = 30.0
#: bytes that are wrong so many times will not get better
MAX_TRIES = 6


@app.task(name="archive")
def archive() -> None:
    """Store what succeeded, the links that die first first."""
    here = services()
    if drain(
        lambda room: here.ledger.archiving.claim(room, LEASE),
        functools.partial(archive_one, here),
        here.ledger.archiving.record,
        threads=THREADS,
    ):
        ring_if_due(here.ledger, "follow_up")


def archive_one(here: Services, claim: ArchiveClaim) -> Archived:
    """Fetch and store the waiting assets of one generation; when all lie in the bucket, describe them beside it."""
    started = time.monotonic()
    waiting = (asset for asset in claim.assets if asset.state == "waiting")
    results = [_store(here, claim, asset) for asset in waiting if time.monotonic() - started < PATIENCE]
    described = False
    try:
        described = _describe(here, claim, results)
    except (ArchiveError, ConfigurationError) as error:
        # Left waiting, so that the generation is claimed again; storing the same bytes again is harmless.
        last = results.pop()
        results.append(Postponed(last.index, f"the sidecar could not be written: {error}"))
    return Archived(claim, tuple(results), described)


def _store(here: Services, claim: ArchiveClaim, asset: Asset) -> Stored | Postponed | Lost:
    try:
        return _fetch_and_put(here, claim, asset)
    except LinkDead as error:
        return _renewed(here, claim, asset, str(error))
    except LinkForbidden as error:
        return Lost(asset.index, str(error))
    except ContentInvalid as error:
        final = asset.tries >= MAX_TRIES
        return Lost(asset.index, str(error)) if final else Postponed(asset.index, str(error))
    except (DownloadError, ArchiveError, ConfigurationError) as error:
        # A wrong setting too may be mended before the link dies.
        return Postponed(asset.index, str(error))


def _fetch_and_put(here: Services, claim: ArchiveClaim, asset: Asset) -> Stored:
    generation = claim.generation
    hosts = here.provider(generation.provider).result_hosts
    with here.downloader.fetch(asset.url, hosts=hosts) as download:
        facts = inspect(download.file)
        key = object_key(
            here.archive.prefix,
            generation.created_at,
            claim.batch_name,
            _name(claim),
            asset.index,
            facts.extension,
        )
        stored = here.archive.store(
            key,
            download.file,
            sha256=download.sha256,
            size=download.bytes,
            content_type=facts.content_type,
            metadata={"generation-id": generation.id},
        )
    return Stored(asset.index, stored.key, stored.sha256, stored.bytes, stored.content_type, facts.width, facts.height)


def _renewed(here: Services, claim: ArchiveClaim, asset: Asset, dead: str) -> Postponed | Lost:
    """Ask the provider once more for the task: it may give a fresh link for the same picture."""
    generation = claim.generation
    provider = here.provider(generation.provider)
    if generation.task_id is None or asset.renewals > 0:
        return Lost(asset.index, dead)
    try:
        outcome = provider.fetch([generation.task_id]).get(generation.task_id)
    except QueryFailed as error:
        return Postponed(asset.index, f"{dead}; and the provider could not be asked for a fresh link: {error}")
    if outcome is None or outcome.status is not Status.SUCCEEDED or len(outcome.links) <= asset.index:
        return Lost(asset.index, f"{dead}; the provider gives no other link")
    url = outcome.links[asset.index].url
    if url == asset.url:
        return Lost(asset.index, f"{dead}; the provider gives the same link again")
    deadline = deadline_of(url, seen_at=here.clock(), retention=provider.retention)
    return Postponed(asset.index, dead, url, deadline)


def _describe(here: Services, claim: ArchiveClaim, results: list[Stored | Postponed | Lost]) -> bool:
    new = {result.index: result for result in results if isinstance(result, Stored)}
    assets = [_with_facts(asset, new.get(asset.index)) for asset in claim.assets]
    if not all(asset.key for asset in assets):
        return False
    where = sidecar_key(here.archive.prefix, claim.generation.created_at, claim.batch_name, _name(claim))
    here.archive.overwrite(
        where,
        sidecar(claim.generation, assets),
        content_type="application/json",
        metadata={"generation-id": claim.generation.id},
    )
    return True


def _name(claim: ArchiveClaim) -> str:
    return claim.generation.key or claim.generation.id


def _with_facts(asset: Asset, stored: Stored | None) -> Asset:
    if stored is None:
        return asset
    return replace(
        asset,
        key=stored.key,
        sha256=stored.sha256,
        bytes=stored.bytes,
        content_type=stored.content_type,
        width=stored.width,
        height=stored.height,
    )
