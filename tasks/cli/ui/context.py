"""What a command works with: the ledger and services that the environment and the data folder name."""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.usecases.services import LedgerServices
from worker.embedded import attach, read_values
from worker.errors import ConfigurationError
from worker.ledger import Ledger
from worker.ledger.database import Clock, missing_file
from worker.settings import Settings, load_settings, provider_prefixes

if TYPE_CHECKING:
    from worker.services import Services

#: in a demo's folder: the settings of that demo, so that other commands find its pretend provider
DEMO = "demo.json"

#: what a demo has of its own, and therefore never takes from the environment
_OF_A_DEMO = re.compile(
    rf"(({'|'.join(provider_prefixes())}|AWS|S3)_|DARKROOM_(?!DATA$))"
    r"|(DATABASE_URL|REDIS_URL|PUBLIC_URL|HOST)(_FILE)?$"
)


def data_folder(env: Mapping[str, str]) -> Path:
    return Path(env.get("DARKROOM_DATA") or "darkroom-data").absolute()


def without_services(env: Mapping[str, str]) -> dict[str, str]:
    """The environment without everything that names servers, providers or how they are used."""
    return {name: value for name, value in env.items() if not _OF_A_DEMO.match(name)}


def use_environment(env: Mapping[str, str]) -> None:
    """From now on the settings, Celery and boto3 read these variables and no others."""
    for name in os.environ.keys() - env.keys():
        del os.environ[name]
    os.environ.update(env)


def read_settings() -> Settings:
    """The settings, with what is running in the data folder; raises ConfigurationError."""
    data = data_folder(os.environ)
    demo = read_values(data / DEMO)
    env = without_services(os.environ) if demo else dict(os.environ)
    use_environment({**env, **attach(env, data), **demo})
    return load_settings()


def require_ledger(settings: Settings) -> None:
    """Raise ConfigurationError where there is no SQLite file, before anything is made for a command that needs it."""
    missing = missing_file(settings.ledger_url)
    if missing is not None and settings.database_url is not None:
        raise ConfigurationError(
            f"DATABASE_URL names {missing}, which is not there: run `darkroom db upgrade`, or correct it"
        )
    if missing is not None:
        raise ConfigurationError(
            f"there is no ledger in {settings.darkroom_data.absolute()} yet: start `darkroom up`, "
            "run `darkroom db upgrade`, or set DARKROOM_DATA or DATABASE_URL to where it is"
        )


class _LedgerServices:
    """As `tasks.usecases.services.LedgerServices` says; the ledger is opened on first use."""

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


@contextmanager
def open_ledger() -> Iterator[LedgerServices]:
    """The ledger alone, for commands that need no provider and no bucket."""
    here = _LedgerServices(read_settings())
    try:
        yield here
    finally:
        here.close()


@contextmanager
def open_services() -> "Iterator[Services]":
    """Ledger, providers and bucket, for commands that need more than the ledger."""
    # They take as long to import as the ledger, which commands that only ask it need not pay.
    from worker.services import Services  # noqa: PLC0415

    settings = read_settings()
    require_ledger(settings)
    here = Services(settings)
    try:
        yield here
    finally:
        here.close()
