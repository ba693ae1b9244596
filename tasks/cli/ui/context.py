"""What a command works with: the ledger and services that the environment and the data folder name."""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.usecases.services import LedgerAlone, LedgerServices, require_ledger
from worker.embedded import attach, read_values
from worker.settings import ENV_FILE_READ, Settings, load_settings, provider_prefixes, use_env_file

if TYPE_CHECKING:
    from worker.services import Services

#: in a demo's folder: the settings of that demo, so that other commands find its sandbox provider
DEMO = "demo.json"

#: settings that a demo sets itself, and therefore never takes from the environment
_OF_A_DEMO = re.compile(
    rf"(?!DARKROOM_DATA$|{ENV_FILE_READ}$)(({'|'.join(provider_prefixes())}|AWS|S3|DARKROOM)_"
    r"|(DATABASE_URL|REDIS_URL|PUBLIC_URL|CONSOLE_URL|HOST|API_HOST)(_FILE)?$)"
)


def data_folder(env: Mapping[str, str]) -> Path:
    return Path(env.get("DARKROOM_DATA") or "darkroom-data").absolute()


def without_services(env: Mapping[str, str]) -> dict[str, str]:
    """Return the environment without variables that name servers or providers, or say how to use them."""
    return {name: value for name, value in env.items() if not _OF_A_DEMO.match(name)}


def use_environment(env: Mapping[str, str]) -> None:
    """Make the settings, Celery and boto3 read only these variables from now on."""
    for name in os.environ.keys() - env.keys():
        del os.environ[name]
    os.environ.update(env)


def read_settings() -> Settings:
    """Return the settings, including what is running in the data folder. Raises ConfigurationError."""
    use_env_file()
    data = data_folder(os.environ)
    demo = read_values(data / DEMO)
    env = without_services(os.environ) if demo else dict(os.environ)
    use_environment({**env, **attach(env, data), **demo})
    return load_settings()


@contextmanager
def open_ledger() -> Iterator[LedgerServices]:
    """Open only the ledger, for commands that need no provider and no bucket."""
    here = LedgerAlone(read_settings())
    try:
        yield here
    finally:
        here.close()


@contextmanager
def open_services() -> "Iterator[Services]":
    """Open ledger, providers and bucket, for commands that need more than the ledger."""
    # As slow to import as the ledger; commands that only need the ledger do without it.
    from worker.services import Services  # noqa: PLC0415

    settings = read_settings()
    require_ledger(settings)
    here = Services(settings)
    try:
        yield here
    finally:
        here.close()
