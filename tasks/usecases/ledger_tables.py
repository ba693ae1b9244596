"""The ledger's tables: upgrade and measure them."""

from collections.abc import Callable
from dataclasses import dataclass

from tasks.usecases.services import LedgerServices
from worker.embedded import folder_errors
from worker.ledger.database import Database
from worker.ledger.maintenance import LedgerSize, ledger_size
from worker.ledger.migrations import upgrade
from worker.secrets import make_private_folder
from worker.settings import Settings


@dataclass(frozen=True, slots=True)
class Upgraded:
    """Revisions; `before` is None if there were no tables."""

    before: str | None
    after: str


def upgrade_ledger(settings: Settings, say: Callable[[str], None]) -> Upgraded:
    """Run the missing migrations; call `say` while they wait for something. Raises ConfigurationError.

    Creates the data folder and the SQLite file where needed. Safe to repeat.
    """
    if settings.database_url is None:
        data = settings.darkroom_data.absolute()
        with folder_errors(data):
            make_private_folder(data)
    database = Database(settings.ledger_url)
    try:
        return Upgraded(*upgrade(database, say))
    finally:
        database.close()


def measure_ledger(here: LedgerServices) -> LedgerSize:
    """Count the rows of every table: may take minutes but blocks nobody."""
    return ledger_size(here.ledger.database)
