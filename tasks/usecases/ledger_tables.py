"""The ledger's tables: brought to the form that this version needs, and measured."""

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
    """Revisions; `before` is None where there were no tables."""

    before: str | None
    after: str


def upgrade_ledger(settings: Settings, say: Callable[[str], None]) -> Upgraded:
    """Run the migrations that are missing; `say` is told what they wait for. Raises ConfigurationError.

    Makes the data folder and the SQLite file where they are needed. Repeating it changes nothing.
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
    """Count every row of every table: that may take minutes, and holds up nobody."""
    return ledger_size(here.ledger.database)
