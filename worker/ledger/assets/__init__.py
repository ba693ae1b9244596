"""Assets: archiving, failures, stored assets and manifests."""

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
from worker.ledger.assets.trouble import TRY_NOW, WaitingAsset

__all__ = [
    "ASSETS",
    "LATER_WAIT",
    "LONGEST_RETRY_WAIT",
    "PAGE",
    "PATIENT_TRIES",
    "TRY_NOW",
    "ArchiveClaim",
    "Archived",
    "Assets",
    "BatchClaim",
    "Copy",
    "Extent",
    "Lost",
    "Postponed",
    "Stored",
    "WaitingAsset",
]
