"""The services of use cases that need neither the bucket nor a provider."""

from functools import cached_property
from typing import Protocol

from worker.errors import ConfigurationError
from worker.ledger import Ledger
from worker.ledger.database import Clock, missing_file
from worker.settings import Settings


class LedgerServices(Protocol):
    """The part of `worker.services.Services` that most queries need; quick to build."""

    settings: Settings

    @property
    def ledger(self) -> Ledger:
        """The database of record."""

    @property
    def clock(self) -> Clock:
        """The ledger's clock, for comparisons with its times."""


class LedgerAlone:
    """Only `LedgerServices`; the ledger is opened on first use."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @cached_property
    def ledger(self) -> Ledger:
        require_ledger(self.settings)
        return Ledger(self.settings.ledger_url)

    @property
    def clock(self) -> Clock:
        return self.ledger.database.clock

    def close(self) -> None:
        if "ledger" in self.__dict__:
            self.ledger.close()


def require_ledger(settings: Settings) -> None:
    """Raise ConfigurationError if the SQLite file is missing, before a command creates anything."""
    missing = missing_file(settings.ledger_url)
    if missing is not None and settings.database_url is not None:
        raise ConfigurationError(
            f"DATABASE_URL points to {missing}, which does not exist: run `darkroom db upgrade`, or correct it"
        )
    if missing is not None:
        raise ConfigurationError(
            f"no ledger in {settings.darkroom_data.absolute()} yet: start `darkroom up`, run "
            "`darkroom db upgrade`, or point DARKROOM_DATA or DATABASE_URL to an existing one"
        )
