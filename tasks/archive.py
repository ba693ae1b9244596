"""Download each asset, store it, write down where; then the generation is done."""

import functools
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from tempfile import SpooledTemporaryFile

from tasks.asking import fresh_link
from tasks.storing import keep_download, keep_text
from worker import stopping
from worker.archive.sidecar import sidecar
from worker.bells import ring_if_due
from worker.celery import app
from worker.content import inspect, read_structure
from worker.deadline import deadline_of
from worker.download import Download
from worker.draining import LEASE, drain
from worker.errors import (
    ArchiveError,
    ConfigurationError,
    ContentInvalid,
    DownloadError,
    LinkDead,
    LinkForbidden,
    NotFound,
    QueryFailed,
)
from worker.generation import Asset, AssetKind
from worker.ledger.archive_claims import ArchiveClaim
from worker.ledger.archiving import Archived, Lost, Postponed, Stored
from worker.redaction import described
from worker.services import Services, services
from worker.transfer import MEMORY_PART

log = logging.getLogger(__name__)

THREADS = 10
#: of these threads, so many are kept for links that die soon
RESERVE = 2
#: seconds after which a claim gives back the assets that are left, well within the task's time limit
PATIENCE = 30.0
#: bytes that are wrong so many times will not get better
MAX_TRIES = 6
#: of such bytes, so many at most are kept for a look
LARGEST_SET_ASIDE = 16 * 1024 * 1024


@app.task(name="archive")
def archive() -> None:
    """Store what succeeded, the links that die first first."""
    here = services()
    archiving = here.ledger.archiving
    if drain(
        _claimer(here),
        functools.partial(archive_one, here),
        archiving.record,
        renew=lambda claims: archiving.renew(claims, LEASE),
        give_back=lambda claims: archiving.record([Archived(claim, (), described=False) for claim in claims]),
        threads=THREADS,
    ):
        ring_if_due(here.ledger, "follow_up")


def _claimer(here: Services) -> Callable[[int], list[ArchiveClaim]]:
    """Claims for one drain: the most urgent, the last threads kept free for links at risk, however many others wait.

    What may have killed its last worker comes while nothing else is under way here.
    """
    archiving, at_risk = here.ledger.archiving, here.settings.at_risk
    suspect = False

    def claim(room: int) -> list[ArchiveClaim]:
        nonlocal suspect
        idle, common = room == THREADS, room - RESERVE
        if suspect and not idle:
            return []
        claims = archiving.claim(common, LEASE, suspects=idle) if common > 0 else []
        suspect = any(claim.deaths for claim in claims)
        if suspect or len(claims) < common:
            return claims
        return claims + archiving.claim(room - len(claims), LEASE, at_risk, suspects=False)

    return claim


def archive_one(here: Services, claim: ArchiveClaim) -> Archived:
    """Fetch and store the waiting assets of one generation; when all lie in the bucket, describe them beside it."""
    started = time.monotonic()
    waiting = [asset for asset in claim.assets if asset.state == "waiting"]
    if claim.deaths:
        # One at a time, so that the one that kills is known.
        waiting = waiting[:1]
    if claim.deaths >= MAX_TRIES:
        error = f"{claim.deaths} workers died or hung while they worked on it; their logs may tell why"
        return Archived(claim, tuple(Lost(asset.index, error) for asset in waiting), described=False)
    results = [
        _store(here, claim, asset)
        for asset in waiting
        if time.monotonic() - started < PATIENCE and not stopping.is_asked()
    ]
    is_described = False
    try:
        is_described = _describe(here, claim, results)
    except (ArchiveError, ConfigurationError) as error:
        _wait_for_sidecar(results, str(error))
    except Exception as error:
        log.exception("the sidecar of %s cannot be written", claim.generation.id)
        _wait_for_sidecar(results, described(error))
    return Archived(claim, tuple(results), is_described)


def _wait_for_sidecar(results: list[Stored | Postponed | Lost], why: str) -> None:
    """Leave the last one waiting, so that the generation is claimed again; storing the same bytes again is harmless."""
    last = results.pop()
    results.append(Postponed(last.index, f"the sidecar could not be written: {why}"))


def _store(here: Services, claim: ArchiveClaim, asset: Asset) -> Stored | Postponed | Lost:
    try:
        return _stored(here, claim, asset)
    except Exception as error:
        # Of which nobody has thought: as if its bytes were wrong.
        log.exception("asset %d of %s cannot be archived", asset.index, claim.generation.id)
        why = f"it cannot be archived: {described(error)}"
        return Lost(asset.index, why) if asset.tries >= MAX_TRIES else Postponed(asset.index, why)


def _stored(here: Services, claim: ArchiveClaim, asset: Asset) -> Stored | Postponed | Lost:
    try:
        if asset.content is not None:
            return keep_text(here, claim, asset.index, asset.content)
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
        try:
            facts = inspect(download.file, asset.kind)
        except ContentInvalid as error:
            if asset.tries < MAX_TRIES:
                raise
            raise ContentInvalid(f"{error}{_set_aside(here, claim, asset, download)}") from error
        return keep_download(here, claim, asset.index, download, facts)


def _set_aside(here: Services, claim: ArchiveClaim, asset: Asset, download: Download) -> str:
    """Keep bytes that were refused for good where a person can look at them; a word on where they are."""
    if download.bytes > LARGEST_SET_ASIDE:
        return f"; its {download.bytes:,} bytes are too many to be kept aside"
    key = here.archive.keys.rejected(claim.generation.id, asset.index)
    download.file.seek(0)
    try:
        here.archive.overwrite(
            key,
            download.file.read(),
            content_type="application/octet-stream",
            metadata={"generation-id": claim.generation.id},
        )
    except ArchiveError as error:
        return f"; its bytes could not be kept aside: {error}"
    return f"; its bytes lie under {key}"


def _renewed(here: Services, claim: ArchiveClaim, asset: Asset, dead: str) -> Postponed | Lost:
    """Ask the provider once more for the task: it may give a fresh link for the same picture."""
    if claim.generation.task_id is None or asset.renewals > 0:
        return Lost(asset.index, dead)
    try:
        fresh = fresh_link(here, claim.generation, asset)
    except (QueryFailed, ConfigurationError) as error:
        return Postponed(asset.index, f"{dead}; and the provider could not be asked for a fresh link: {error}")
    if fresh is None:
        return Lost(asset.index, f"{dead}; the provider gives no other link")
    url, lives = fresh
    deadline = deadline_of(url, seen_at=here.clock(), retention=lives)
    return Postponed(asset.index, dead, url, deadline)


def _describe(here: Services, claim: ArchiveClaim, results: list[Stored | Postponed | Lost]) -> bool:
    new = {result.index: result for result in results if isinstance(result, Stored)}
    assets = [_with_facts(asset, new.get(asset.index)) for asset in claim.assets]
    if not all(asset.key for asset in assets):
        return False
    verified = {index: stored.verified for index, stored in new.items()}
    here.archive.overwrite(
        here.archive.keys.sidecar(claim.generation, claim.batch_name),
        sidecar(claim.generation, assets, verified, _remarks(here, assets, new)),
        content_type="application/json",
        metadata={"generation-id": claim.generation.id},
    )
    return True


def _remarks(here: Services, assets: list[Asset], new: Mapping[int, Stored]) -> dict[int, str]:
    """What is odd about the assets, by index; the bytes of those that were stored before say it once more."""
    found: dict[int, str] = {}
    for asset in assets:
        remark = new[asset.index].remark if asset.index in new else _remark(here, asset)
        if remark is not None:
            found[asset.index] = remark
    return found


def _remark(here: Services, asset: Asset) -> str | None:
    if asset.key is None or asset.kind is AssetKind.TEXT:
        return None
    with SpooledTemporaryFile(MEMORY_PART) as file:
        try:
            with here.archive.read(asset.key) as pieces:
                file.writelines(pieces)
            return read_structure(file, asset.kind).remark
        except NotFound:
            # `darkroom verify` tells of it.
            return None
        except ContentInvalid as error:
            # Whoever let it in knew that.
            return str(error)


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
        seconds=stored.seconds,
        source_sha256=stored.source_sha256,
    )
