"""What a use case works with that needs neither a bucket nor a provider."""

from typing import Protocol

from worker.ledger import Ledger
from worker.ledger.database import Clock
from worker.settings import Settings


class LedgerServices(Protocol):
    """The part of `worker.services.Services` that is enough for most questions, and quick to build."""

    settings: Settings

    @property
    def ledger(self) -> Ledger:
        """The database of record."""

    @property
    def clock(self) -> Clock:
        """The ledger's: whatever is compared with its times."""
