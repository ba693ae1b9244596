"""Assets: archiving, failures, stored assets, thumbnails and manifests."""

from worker.ledger.assets.archiving import ArchiveClaim
from worker.ledger.assets.assets import Assets
from worker.ledger.assets.manifests import BatchClaim
from worker.ledger.assets.recording import (
    LATER_WAIT,
    LONGEST_RETRY_WAIT,
    PATIENT_TRIES,
    Archived,
    Lost,
    Postponed,
    Stored,
)
from worker.ledger.assets.states import ASSETS
from worker.ledger.assets.stored_assets import PAGE, Copy, Extent
from worker.ledger.assets.thumbnails import (
    LONGEST_THUMBNAIL_WAIT,
    Fingerprint,
    ThumbnailClaim,
    ThumbnailMade,
    ThumbnailResult,
)
from worker.ledger.assets.trouble import TRY_NOW, WaitingAsset

__all__ = [
    "ASSETS",
    "LATER_WAIT",
    "LONGEST_RETRY_WAIT",
    "LONGEST_THUMBNAIL_WAIT",
    "PAGE",
    "PATIENT_TRIES",
    "TRY_NOW",
    "ArchiveClaim",
    "Archived",
    "Assets",
    "BatchClaim",
    "Copy",
    "Extent",
    "Fingerprint",
    "Lost",
    "Postponed",
    "Stored",
    "ThumbnailClaim",
    "ThumbnailMade",
    "ThumbnailResult",
    "WaitingAsset",
]
