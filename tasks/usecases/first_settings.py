"""A user's first `.env`: its settings, their meaning, and validation of the answers."""

import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path

from tasks.usecases.entry import Entry, Place
from tasks.usecases.entry_check import Defaults
from tasks.usecases.submit import SubmitRequest
from worker.embedded import write_private
from worker.errors import ConfigurationError
from worker.generation import GenerationRequest, Operation
from worker.pricing import tier_of
from worker.providers import PROVIDERS, load_provider, provider_class
from worker.services import Services
from worker.settings import Settings, env_line, read_env_file, settings_with

#: the prompt of a paid test
_TEST_PROMPT = "a red darkroom lamp above drying photographs, film grain"

_HEAD = """\
# Darkroom reads this file in the folder where a command or process starts; environment variables take precedence.
# It may hold keys: chmod 600 .env. All settings with their defaults are in deploy/env.example.
"""
_PROVIDERS = """\
# --- Providers: set the key of at least one. Several accounts of one provider: studio:KEY1,shop:KEY2 ---"""
_OTHERS: Mapping[str, tuple[str, ...]] = {
    """\
# --- The archive: the bucket that keeps all results ---
# If unset, `darkroom up` runs its own S3 server, which keeps plain files in DARKROOM_DATA.""": ("S3_BUCKET",),
    "# Only for a store that is not AWS, such as https://s3.example.com": ("AWS_ENDPOINT_URL",),
    "# The store's access key; if unset, this machine's AWS credentials are used": (
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
    ),
    "# us-east-1 if unset": ("AWS_REGION",),
    """\
# --- The receiver ---
# The URL at which providers reach it, such as https://darkroom.example.com. If unset, results are polled.""": (
        "PUBLIC_URL",
    ),
    "# Signs callback URLs; required with PUBLIC_URL. Create it once and keep it: id:secret": (
        "DARKROOM_SIGNING_KEYS",
    ),
    """\
# --- Money ---
# A YAML file with prices and caps, such as deploy/prices.example.yaml. If unset, no costs are counted.""": (
        "DARKROOM_PRICES",
    ),
}


def provider_names() -> tuple[str, ...]:
    """Return the providers' names, the default first."""
    return tuple(PROVIDERS)


def env_text(values: Mapping[str, str]) -> str:
    """Return a whole `.env` that explains each setting; settings without a value are commented out."""
    lines = [_HEAD, _PROVIDERS]
    for name in PROVIDERS:
        kind = provider_class(name)
        lines += [f"# {kind.title}", *_lines(provider_settings(name), values)]
    for explanation, names in _OTHERS.items():
        lines += ["", explanation] if explanation.startswith("# ---") else [explanation]
        lines += _lines(names, values)
    return "\n".join(lines) + "\n"


def provider_settings(name: str) -> tuple[str, ...]:
    """Return the settings that a provider needs: its key, and its address if it has no fixed one."""
    kind = provider_class(name)
    address = f"{kind.prefix}_base_url"
    has_address = Settings.model_fields[address].default is not None
    return (kind.key_setting,) if has_address else (address.upper(), kind.key_setting)


def check_answers(values: Mapping[str, str], provider: str | None = None) -> None:
    """Raise ConfigurationError for unusable values, including a provider's key that cannot be sent in a header."""
    settings = settings_with(values)
    if provider is not None:
        load_provider(provider, settings)


def new_signing_keys() -> str:
    return f"k1:{secrets.token_urlsafe(32)}"


def write_env(path: Path, values: Mapping[str, str]) -> None:
    """Atomically replace the file, readable only by its owner. Raises ConfigurationError."""
    try:
        write_private(path, env_text(values))
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written: {error.strerror}") from error
    if read_env_file(path) != values:
        raise ConfigurationError(f"{path} does not contain the values you entered: check and correct it")


def price_of_test(here: Services, provider: str) -> str | None:
    """Return the cost of a paid test; None if no price is known."""
    prices = here.prices
    if prices is None or not prices.knows(provider):
        return None
    request = GenerationRequest(operation=Operation.IMAGINE, prompt=_TEST_PROMPT)
    return prices.text(prices.price(provider, request.operation, tier_of(request)))


def request_of_test(provider: str) -> SubmitRequest:
    return SubmitRequest(entries=[Entry(place=Place(""), prompt=_TEST_PROMPT)], defaults=Defaults(provider=provider))


def _lines(names: tuple[str, ...], values: Mapping[str, str]) -> Iterator[str]:
    for name in names:
        try:
            yield env_line(name, values[name]) if values.get(name) else f"#{name}="
        except ValueError as error:
            raise ConfigurationError(str(error)) from None
