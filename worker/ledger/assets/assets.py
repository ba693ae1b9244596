"""The façade for assets."""

from worker.ledger.assets.archiving import Archiving
from worker.ledger.assets.manifests import Manifests
from worker.ledger.assets.recording import Recording
from worker.ledger.assets.stored_assets import StoredAssets
from worker.ledger.assets.thumbnails import Thumbnails
from worker.ledger.assets.trouble import TroubledAssets


class Assets(Archiving, Recording, TroubledAssets, StoredAssets, Thumbnails, Manifests):
    """Assets to archive, and assets in the bucket."""
