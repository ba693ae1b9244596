"""The list of providers."""

from collections.abc import Mapping
from importlib import import_module

from pydantic import SecretStr

from worker.downloads import is_told
from worker.errors import ConfigurationError
from worker.generation import Asset
from worker.providers.base import Provider
from worker.secrets import DEFAULT_ACCOUNT, SANDBOX_ACCOUNT, SANDBOX_KEY, read_keys
from worker.settings import Settings

#: name → where its class is defined; imported on first use, so that no provider's libraries burden another
PROVIDERS: Mapping[str, str] = {
    "acedata": "worker.providers.acedata:AceDataCloud",
    "kie": "worker.providers.kie:Kie",
    "ohmygpt": "worker.providers.ohmygpt:OhMyGPT",
    "mjproxy": "worker.providers.mjproxy:MidjourneyProxy",
}


def end_is_proven(provider: str, asset: Asset) -> bool:
    """Return whether the link's deadline is not a guess: the link itself or the provider's pages state it."""
    documented = provider in PROVIDERS and provider_class(provider).retention is not None
    return documented or is_told(asset.url, asset.deadline)


def provider_class(name: str) -> type[Provider]:
    """Return the provider's class, whose capability table can be read without any key."""
    module, _, attribute = PROVIDERS[name].partition(":")
    kind: type[Provider] = getattr(import_module(module), attribute)
    return kind


def account_keys(name: str, settings: Settings) -> Mapping[str, SecretStr | None]:
    """Return the provider's accounts with their keys; a single account if there is no key, since some need none."""
    secret: SecretStr | None = getattr(settings, provider_class(name).key_setting.lower())
    if secret is None:
        return {DEFAULT_ACCOUNT: None}
    return {account: SecretStr(key) for account, key in read_keys(secret.get_secret_value()).items()}


def load_provider(name: str, settings: Settings, account: str | None = None) -> Provider:
    """Build the provider for one of its accounts, by default the first; SANDBOX_ACCOUNT is for test generations.

    Raises ConfigurationError if the account has no key or another setting is missing.
    """
    if account == SANDBOX_ACCOUNT:
        return _in_sandbox(name, settings)
    kind, keys = provider_class(name), account_keys(name, settings)
    if account is not None and account not in keys:
        raise ConfigurationError(
            f"{name} has no key for its account {account}: add it to {kind.key_setting} as `{account}:KEY` "
            f"(configured: {', '.join(keys)})"
        )
    mine = keys[account or next(iter(keys))]
    return kind(settings.model_copy(update={kind.key_setting.lower(): mine}))


def _in_sandbox(name: str, settings: Settings) -> Provider:
    kind = provider_class(name)
    place = {f"{kind.prefix}_base_url": settings.sandbox_url, kind.key_setting.lower(): SecretStr(SANDBOX_KEY)}
    return kind(settings.model_copy(update=place))
