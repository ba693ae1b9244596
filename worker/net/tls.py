"""Trusted certificate authorities: the ones requests would use, so that one setting applies to every connection."""

import os
import ssl
from functools import cache
from pathlib import Path
from typing import Any

import certifi

from worker.errors import ConfigurationError

_SETTINGS = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


def trusted_authorities() -> ssl.SSLContext:
    """Return a context that requires a valid certificate from one of the environment's authorities, else of certifi's.

    The instance is shared. Raises ConfigurationError if the authorities cannot be read.
    """
    name = next((name for name in _SETTINGS if os.environ.get(name)), None)
    return _context(name, Path(os.environ[name] if name else certifi.where()))


# Reading the authorities takes 15 ms of CPU.
@cache
def _context(name: str | None, bundle: Path) -> ssl.SSLContext:
    options: dict[str, Any] = {"capath" if bundle.is_dir() else "cafile": bundle}
    where = f"{name}: " if name else ""
    if bundle.exists() and not (bundle.is_dir() or bundle.is_file()):
        # Reading a device might never end.
        raise ConfigurationError(f"{where}cannot read certificates from {bundle}: it is not a file")
    try:
        return ssl.create_default_context(**options)
    except OSError as error:
        raise ConfigurationError(f"{where}cannot read certificates from {bundle}: {error.strerror}") from error
