"""Make thumbnails of stored images, from our own copies, while nothing more urgent is due."""

import functools
import logging
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from tasks.stored_images import Changed, thumbnail_of
from worker import telemetry
from worker.celery import app
from worker.errors import ArchiveError, ConfigurationError, ContentInvalid, DownloadError, NotFound
from worker.generation import ThumbnailState
from worker.ledger.assets import ThumbnailClaim, ThumbnailMade, ThumbnailResult
from worker.runtime import LEASE, drain
from worker.services import Services, services
from worker.steps import Step
from worker.wakeup import ring_if_due

log = logging.getLogger(__name__)

#: one decodes while the other reads or stores: a process has one decoder
THREADS = 2
#: claims that may wait for a thread while work is quick: the larger a group, the less each claim costs, but the longer
#: more urgent work waits
AHEAD = 6
#: seconds that a result may wait to be recorded together with others
LINGER = 0.25
#: seconds after which the process is available to other steps
SLICE = 3.0
#: consecutive workers that may die while making a thumbnail
MOST_DEATHS = 5
#: consecutive failures of the store after which a drain ends: the rest would fail the same way
GIVE_UP = 4


@app.task(name=Step.THUMBNAIL)
def thumbnail() -> None:
    """Make thumbnails until none is wanted, the time slice is over, or anything more urgent is due."""
    here = services()
    if not here.settings.darkroom_thumbnails:
        return
    # Count those that an earlier task left running in their own threads.
    threads = THREADS - _under_way.number
    if threads <= 0:
        return
    assets = here.ledger.assets
    work = _Work(here)
    if drain(
        work.claim,
        work.make,
        functools.partial(_record, here),
        renew=lambda claims: assets.renew_thumbnails(claims, LEASE),
        give_back=assets.give_back_thumbnails,
        threads=threads,
        ahead=AHEAD,
        linger=LINGER,
        seconds=SLICE,
        # Nothing waits for a slow one.
        takes_long=lambda _: True,
        tell=_tell,
    ):
        ring_if_due(here.ledger, Step.THUMBNAIL)


class _Work:
    """One drain."""

    def __init__(self, here: Services) -> None:
        self._here = here
        self._failed = 0

    def claim(self, room: int) -> list[ThumbnailClaim]:
        """Claim none while anything more urgent is due."""
        if self._failed >= GIVE_UP or not self._here.ledger.maintenance.is_due(Step.THUMBNAIL):
            return []
        return self._here.ledger.assets.claim_thumbnails(room, LEASE)

    def make(self, claim: ThumbnailClaim) -> ThumbnailResult:
        with _under_way.one_more():
            try:
                found = make(self._here, claim)
            except (ArchiveError, ConfigurationError, DownloadError) as error:
                log.warning("postponed the thumbnail of %s: %s", claim.asset.object_key, error)
                self._failed += 1
                return ThumbnailResult(claim, None)
            self._failed = 0
            return ThumbnailResult(claim, found)


class _UnderWay:
    """How many this process is making, including those that a drain left running in their own threads."""

    def __init__(self) -> None:
        self.number = 0
        self._lock = threading.Lock()

    @contextmanager
    def one_more(self) -> Iterator[None]:
        with self._lock:
            self.number += 1
        try:
            yield
        finally:
            with self._lock:
                self.number -= 1


_under_way = _UnderWay()


def make(here: Services, claim: ThumbnailClaim) -> ThumbnailMade | ThumbnailState:
    """Make and store the thumbnail of one image, or return why there is none.

    Raises ArchiveError, ConfigurationError or DownloadError if it should be tried again.
    """
    asset = claim.asset
    if claim.was_left_behind and claim.tries >= MOST_DEATHS:
        return ThumbnailState.UNDECODABLE
    try:
        small = thumbnail_of(here.archive, asset)
    except (NotFound, Changed):
        return ThumbnailState.MISSING
    except ContentInvalid as error:
        log.info("no thumbnail of %s: %s", asset.object_key, error)
        return ThumbnailState.UNDECODABLE
    if small is None:
        return ThumbnailState.UNDECODABLE
    # Another version of the encoder may have written different bytes before.
    stored = here.archive.overwrite(
        here.archive.keys.thumbnail_beside(str(asset.object_key)),
        small.webp,
        content_type="image/webp",
        metadata={"generation-id": asset.generation_id},
    )
    return ThumbnailMade(
        colour=small.colour, dhash=small.dhash, bytes=stored.bytes, width=small.width, height=small.height
    )


def _record(here: Services, done: Sequence[ThumbnailResult]) -> None:
    for key in here.ledger.assets.record_thumbnails(done):
        # The image was deleted while its thumbnail was being made; the thumbnail must not outlive it.
        try:
            here.archive.delete(here.archive.keys.thumbnail_beside(key))
        except (ArchiveError, ConfigurationError) as error:
            # `darkroom verify` lists it as orphaned.
            log.warning("could not delete the thumbnail of %s: %s", key, error)


def _tell(done: Sequence[ThumbnailResult], began: float) -> None:
    kinds = Counter(type(one.found) for one in done)
    counts = {"ok": kinds[ThumbnailMade], "failed": kinds[ThumbnailState], "postponed": kinds[type(None)]}
    telemetry.step(Step.THUMBNAIL, len(done), began, **counts)
