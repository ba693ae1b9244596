"""Download each asset, store it and record its key; the generation is then done."""

import functools
import logging
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from tasks.asking import fresh_link, hosts_of
from tasks.long_downloads import LongDownloads, Turn
from tasks.refused import forget_refused, keep_accepted, set_aside
from tasks.splitting import keep_quadrants
from tasks.stored_before import NotOurs, stored_before
from tasks.storing import keep_file, keep_text
from worker import telemetry
from worker.archive import sidecar
from worker.celery import app
from worker.downloads import deadline_of
from worker.errors import (
    ArchiveError,
    ConfigurationError,
    ContentInvalid,
    DownloadError,
    LinkDead,
    QueryFailed,
    SetDown,
)
from worker.generation import Asset, AssetState, Operation, Trouble
from worker.ledger.assets import PATIENT_TRIES, ArchiveClaim, Archived, Lost, Postponed, Stored
from worker.media import inspect
from worker.providers import end_is_proven
from worker.runtime import LEASE, drain, shutdown
from worker.secrets import described
from worker.services import Services, services
from worker.steps import Step
from worker.wakeup import ring_if_due

log = logging.getLogger(__name__)

THREADS = 10
#: threads reserved for links that expire soon
RESERVE = 2
#: claims that may wait for a thread while work is quick: the larger a group, the less each claim costs. After a crash,
#: each is processed alone
AHEAD = 22
#: seconds that a stored asset may wait to be recorded together with others
LINGER = 0.25
#: seconds after which a claim returns its remaining assets, well within the task's time limit
PATIENCE = 20.0
#: consecutive workers that may die while they process an asset
MAX_TRIES = 6
#: maximum number of fresh links to request for one asset if each of them is dead, too
MAX_RENEWALS = 8
#: tries after which to look in the bucket and to request a fresh link even if the current one may still work. Given the
#: backoff, that is at once, then after about a minute, five minutes, an hour, and some days
ASKED_AT = frozenset({1, 6, 13, 20, 40})
#: even if the link expires much later
MOST_PATIENT = timedelta(days=365)
#: a quarter of the threads, so that slow downloads do not delay quick ones
LONG = LongDownloads(THREADS // 4)
_DIED = "workers died or hung while processing it; see their logs"


@app.task(name=Step.ARCHIVE)
def archive() -> None:
    """Store the results of successful generations, in the order in which their links expire."""
    here = services()
    archiving = here.ledger.assets
    claims = _Claims(here)
    if drain(
        claims.first,
        functools.partial(archive_one, here),
        functools.partial(_record, here),
        renew=lambda claims: archiving.renew(claims, LEASE),
        give_back=functools.partial(_give_back, here),
        threads=THREADS,
        claim_more=claims.more,
        ahead=AHEAD,
        reserve=RESERVE,
        linger=LINGER,
        takes_long=LONG.holds,
        tell=_tell,
    ):
        # The time slice may have ended with work left, and there may be no other pending wake-up.
        ring_if_due(here.ledger, Step.ARCHIVE, Step.FOLLOW_UP, Step.THUMBNAIL)


class _Claims:
    """Claims for one drain: most urgent first, with the last threads reserved for links at risk.

    An asset that may have killed its last worker is claimed only while nothing else is in flight here.
    """

    def __init__(self, here: Services) -> None:
        self._assets, self._at_risk = here.ledger.assets, here.settings.at_risk
        self._has_suspect = False

    def first(self, room: int) -> list[ArchiveClaim]:
        """Claim while nothing is in flight."""
        return self._claim(room, suspects=True)

    def more(self, room: int) -> list[ArchiveClaim]:
        return [] if self._has_suspect else self._claim(room, suspects=False)

    def _claim(self, room: int, *, suspects: bool) -> list[ArchiveClaim]:
        common = room - RESERVE
        claims = self._assets.claim(common, LEASE, suspects=suspects) if common > 0 else []
        self._has_suspect = any(claim.deaths for claim in claims)
        if self._has_suspect or len(claims) < common:
            return claims
        return claims + self._assets.claim(room - len(claims), LEASE, self._at_risk, suspects=False)


def archive_one(here: Services, claim: ArchiveClaim) -> Archived:
    """Fetch and store one generation's waiting assets; once all are in the bucket, write the sidecar."""
    with LONG.turn(claim) as turn:
        return _archive(here, claim, turn)


def _archive(here: Services, claim: ArchiveClaim, turn: Turn) -> Archived:
    started = time.monotonic()
    waiting = [asset for asset in claim.assets if asset.state is AssetState.WAITING]
    # Within a generation, assets that killed workers come last.
    waiting = [asset for asset in waiting if asset.reason != Trouble.WORKER_DIED] or waiting
    if claim.deaths:
        # One at a time, to identify the asset that kills workers.
        waiting = waiting[:1]
    results: list[Stored | Postponed | Lost] = []
    if claim.deaths >= MAX_TRIES or (claim.deaths and waiting and waiting[0].reason == Trouble.WORKER_DIED):
        given_back = [_put_off(here, claim, asset, _DIED, Trouble.WORKER_DIED) for asset in waiting]
        # After that many deaths, the lookup itself is the killer.
        is_safe = claim.deaths < 2 * MAX_TRIES
        results += map(functools.partial(_or_found, here, claim), waiting, given_back) if is_safe else given_back
        waiting = []
    elif claim.generation.operation is Operation.SPLIT:
        results += map(functools.partial(_or_found, here, claim), waiting, _split(here, claim, waiting))
        waiting = []
    for asset in waiting:
        if time.monotonic() - started >= PATIENCE or shutdown.is_asked():
            break
        turn.begin()
        result = _store(here, claim, asset, turn)
        if result is not None:
            results.append(_or_found(here, claim, asset, result))
    is_described = False
    try:
        is_described = _describe(here, claim, results)
    except (ArchiveError, ConfigurationError) as error:
        _wait_for_sidecar(results, str(error))
    except Exception as error:
        log.exception("could not write the sidecar of %s", claim.generation.id)
        _wait_for_sidecar(results, described(error))
    return Archived(claim, tuple(results), is_described)


def _wait_for_sidecar(results: list[Stored | Postponed | Lost], why: str) -> None:
    """Keep the last asset waiting, so that the generation is claimed again; storing it twice is harmless."""
    last = results.pop()
    results.append(Postponed(index=last.index, error=f"could not write the sidecar: {why}", reason=Trouble.STORE))


def _store(here: Services, claim: ArchiveClaim, asset: Asset, turn: Turn) -> Stored | Postponed | Lost | None:
    try:
        return _stored(here, claim, asset, turn)
    except Exception as error:
        # An unexpected error.
        log.exception("could not archive asset %d of %s", asset.index, claim.generation.id)
        return _put_off(here, claim, asset, f"could not archive it: {described(error)}", Trouble.UNEXPECTED)


def _or_found(
    here: Services, claim: ArchiveClaim, asset: Asset, result: Stored | Postponed | Lost
) -> Stored | Postponed | Lost:
    """Look in the bucket for an asset that its link does not return: at first, now and then, and before it is lost.

    A worker may have died after storing it, or the ledger may have been restored from a backup.
    """
    if isinstance(result, Stored) or (isinstance(result, Postponed) and not _is_looked_for(asset, result)):
        return result
    try:
        return _instead_of(here, asset, result, stored_before(here, claim, asset))
    except NotOurs as error:
        return replace(result, error=f"{result.error}; {error}")
    except (ArchiveError, ConfigurationError, DownloadError) as error:
        why, reason = str(error), _reason_of(error)
    except Exception as error:
        log.exception("could not look for asset %d of %s in the bucket", asset.index, claim.generation.id)
        why, reason = described(error), Trouble.UNEXPECTED
    if isinstance(result, Postponed):
        return result
    unknown = f"{result.error}; it may be in the bucket, where it could not be looked for: {why}"
    return Postponed(index=asset.index, error=unknown, reason=reason)


def _instead_of(
    here: Services, asset: Asset, result: Postponed | Lost, found: Stored | None
) -> Stored | Postponed | Lost:
    if found is None:
        return result
    if asset.refused is None and isinstance(result, Postponed) and result.refused is not None:
        # It was set aside in this try, which the ledger will not record.
        forget_refused(here, asset)
    return found


def _is_looked_for(asset: Asset, result: Postponed) -> bool:
    """Return whether the link is the problem."""
    other = (Trouble.STORE, Trouble.SETTING, Trouble.WORKER_DIED)
    return asset.tries in ASKED_AT and not result.goes_on and result.reason not in other


def _reason_of(error: ArchiveError | ConfigurationError | DownloadError) -> Trouble:
    if isinstance(error, DownloadError):
        return error.trouble
    return Trouble.STORE if isinstance(error, ArchiveError) else Trouble.SETTING


def _split(here: Services, claim: ArchiveClaim, waiting: Sequence[Asset]) -> Sequence[Stored | Postponed | Lost]:
    """Split off all quadrants at once, because decoding the grid costs the most."""
    try:
        return keep_quadrants(here, claim, waiting)
    except LinkDead as error:
        return [Lost(asset.index, str(error)) for asset in waiting]
    except DownloadError as error:
        return [_put_off(here, claim, asset, str(error), error.trouble) for asset in waiting]
    except (ArchiveError, ConfigurationError) as error:
        return [Postponed(index=asset.index, error=str(error), reason=_reason_of(error)) for asset in waiting]
    except Exception as error:
        log.exception("could not split the grid of %s", claim.generation.parent_id)
        why = f"could not split the grid: {described(error)}"
        return [_put_off(here, claim, asset, why, Trouble.UNEXPECTED) for asset in waiting]


def _stored(here: Services, claim: ArchiveClaim, asset: Asset, turn: Turn) -> Stored | Postponed | Lost | None:
    """None if the worker is stopping and another one should take the asset."""
    try:
        if asset.content is not None:
            return keep_text(here, claim, asset.index, asset.content)
        return _fetch_and_put(here, claim, asset, turn)
    except LinkDead as error:
        return _renewed(here, claim, asset, str(error))
    except SetDown as error:
        return None if shutdown.is_asked() else _set_down(here, claim, asset, error)
    except DownloadError as error:
        return _put_off(here, claim, asset, str(error), error.trouble)
    except (ArchiveError, ConfigurationError) as error:
        # The link works, so keep trying.
        return Postponed(index=asset.index, error=str(error), reason=_reason_of(error))


def _set_down(here: Services, claim: ArchiveClaim, asset: Asset, error: SetDown) -> Postponed | Lost:
    """A download that will be resumed does not count as a failed try."""
    result = _put_off(here, claim, asset, str(error), error.trouble)
    return replace(result, goes_on=True) if isinstance(result, Postponed) and error.can_resume else result


def _put_off(here: Services, claim: ArchiveClaim, asset: Asset, error: str, reason: Trouble) -> Postponed | Lost:
    """Try again later, unless the time for retries is over and the link may have expired."""
    generation = claim.generation
    since = generation.finished_at or generation.created_at
    patience = here.settings.give_up_after
    if here.clock() <= max(since + patience, min(asset.deadline, since + MOST_PATIENT)):
        return Postponed(index=asset.index, error=error, reason=reason)
    why = f"gave up after {patience / timedelta(days=1):g} days of trying (DARKROOM_GIVE_UP_DAYS); last error: {error}"
    return Lost(asset.index, why, Trouble.UNREACHABLE)


def _fetch_and_put(here: Services, claim: ArchiveClaim, asset: Asset, turn: Turn) -> Stored | Postponed | Lost:
    generation = claim.generation
    if asset.accepted is not None and (taken := keep_accepted(here, claim, asset)) is not None:
        return taken
    with here.downloader_of(generation).fetch(asset.url, hosts_of(here, generation, asset), turn.may_go_on) as download:
        try:
            facts = inspect(download.file, asset.kind)
        except ContentInvalid as error:
            if asset.tries < PATIENT_TRIES:
                raise
            said = f" (with Content-Encoding {download.coding!r})" if download.coding else ""
            refused, where = set_aside(here, claim, asset, download, f"{error}{said}")
            result = _put_off(here, claim, asset, f"{error}{said}; {where}", error.trouble)
            return replace(result, refused=refused)
        return keep_file(here, claim, asset.index, download, facts)


def _record(here: Services, done: Sequence[Archived]) -> None:
    """Record the results, then delete the files set aside for them."""
    held = here.ledger.assets.record(done, thumbnails=here.settings.darkroom_thumbnails)
    for one in done:
        if one.claim.generation.id not in held:
            # Another worker now holds the claim and may need the file.
            continue
        stored = {result.index for result in one.results if isinstance(result, Stored)}
        for asset in one.claim.assets:
            if asset.index in stored and asset.refused is not None:
                forget_refused(here, asset)


def _tell(done: Sequence[Archived], began: float) -> None:
    """Log the assets; several may belong to one generation."""
    kinds = Counter(type(result) for one in done for result in one.results)
    telemetry.step(Step.ARCHIVE, len(done), began, ok=kinds[Stored], failed=kinds[Lost], postponed=kinds[Postponed])


def _give_back(here: Services, claims: Sequence[ArchiveClaim]) -> None:
    here.ledger.assets.record([Archived(claim, (), described=False) for claim in claims])


def _renewed(here: Services, claim: ArchiveClaim, asset: Asset, dead: str) -> Postponed | Lost:
    """Poll the task now and then: the provider may return a fresh link to the same result."""
    generation = claim.generation
    is_over = asset.deadline <= here.clock() and end_is_proven(generation.provider, asset)
    fresh = None
    if generation.task_id is not None and asset.renewals < MAX_RENEWALS and (is_over or asset.tries in ASKED_AT):
        try:
            fresh = fresh_link(here, generation, asset)
        except (QueryFailed, ConfigurationError) as error:
            dead = f"{dead}; could not ask the provider for a fresh link: {error}"
            return _put_off(here, claim, asset, dead, Trouble.NOT_FOUND)
        dead = dead if fresh else f"{dead}; the provider offers no other link"
    if fresh is not None:
        url, lives = fresh
        deadline = deadline_of(url, seen_at=here.clock(), retention=lives)
        return Postponed(index=asset.index, error=dead, url=url, deadline=deadline, reason=Trouble.NOT_FOUND)
    if is_over:
        return Lost(asset.index, f"{dead}; the link expired at {asset.deadline:%Y-%m-%d %H:%M} UTC")
    return _put_off(here, claim, asset, dead, Trouble.NOT_FOUND)


def _describe(here: Services, claim: ArchiveClaim, results: list[Stored | Postponed | Lost]) -> bool:
    new = {result.index: result for result in results if isinstance(result, Stored)}
    assets = [_with_facts(asset, new.get(asset.index)) for asset in claim.assets]
    if not all(asset.object_key for asset in assets):
        return False
    here.archive.overwrite(
        here.archive.keys.sidecar(claim.generation, claim.lineage),
        sidecar(claim.generation, assets, claim.lineage),
        content_type="application/json",
        metadata={"generation-id": claim.generation.id},
    )
    return True


def _with_facts(asset: Asset, stored: Stored | None) -> Asset:
    if stored is None:
        return asset
    return replace(
        asset,
        object_key=stored.object_key,
        sha256=stored.sha256,
        bytes=stored.bytes,
        content_type=stored.content_type,
        width=stored.width,
        height=stored.height,
        seconds=stored.seconds,
        source_sha256=stored.source_sha256,
        verified=stored.verified,
        remark=stored.remark,
        accepted=asset.accepted if stored.accepted else None,
    )
