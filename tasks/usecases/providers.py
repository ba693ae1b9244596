"""Each provider's operations and options, the settings missing here, and the health of its accounts."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from tasks.shown import shown
from tasks.usecases.services import LedgerServices
from worker.errors import ConfigurationError, LedgerUnavailable
from worker.generation import Operation
from worker.ledger.dispatch import Slowed
from worker.providers import (
    PROVIDERS,
    Callback,
    Capability,
    Prompt,
    Versions,
    account_keys,
    load_provider,
    provider_class,
)
from worker.settings import Settings

__all__ = [
    "NORMALISED",
    "AccountFacts",
    "AccountStatus",
    "Capability",
    "ProviderFacts",
    "describe_providers",
    "key_settings",
    "provider_title",
    "require_provider",
]

#: options with the same name and values at every provider that has them; the others are provider-specific
NORMALISED = frozenset({
    "aspect_ratio", "version", "speed", "quality", "stylize", "weird", "chaos", "seed", "images", "style_images",
    "omni_image", "omni_weight", "mask", "video_size", "motion", "videos", "loop", "end_image", "translation",
})  # fmt: skip
#: what Darkroom itself does with grids that a provider delivers
_SPLIT = {Operation.SPLIT: Capability(prompt=Prompt.UNUSED, actions=("split",))}


class AccountStatus(StrEnum):
    WORKING = "working"
    #: at a fraction of its rate, after being rate limited
    SLOWED = "slowed"
    #: after consecutive failures; the next submission after `until` probes it
    CIRCUIT_OPEN = "circuit_open"
    PAUSED = "paused"


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountFacts:
    """One of a provider's accounts. `rate`: new submissions per second now; `reason`: of a pause."""

    account: str
    status: AccountStatus
    rate: float
    since: datetime | None = None
    until: datetime | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderFacts:
    """One provider on this machine. `missing`: settings it still needs; `retention`: the lifetime of its links.

    `prefix`: the first word of its settings; `rate`: new submissions per second of each account; `input_limit`: bytes
    of an image; `accounts`: of a configured provider; None without a ledger that knows their health.
    """

    name: str
    title: str
    prefix: str
    missing: str | None
    callback: Callback
    rate: float
    in_flight: int
    retention: timedelta
    prompt_limit: int
    input_limit: int | None
    accounts: tuple[AccountFacts, ...] | None
    capabilities: Mapping[Operation, Capability]
    versions: Versions

    @property
    def retention_days(self) -> float:
        return round(self.retention / timedelta(days=1), 3)

    @property
    def options(self) -> list[str]:
        return sorted({name for one in self.capabilities.values() for name in one.options})

    @property
    def own_options(self) -> list[str]:
        return [name for name in self.options if name not in NORMALISED]


def require_provider(name: str) -> None:
    """Raise ConfigurationError for an unknown provider."""
    if name not in PROVIDERS:
        raise ConfigurationError(f"unknown provider {shown(name)!r}; expected one of {', '.join(PROVIDERS)}")


def key_settings() -> tuple[str, ...]:
    """Return the name of each provider's key setting."""
    return tuple(provider_class(name).key_setting for name in PROVIDERS)


def provider_title(name: str) -> str:
    """Return the provider's name as its own pages spell it."""
    return provider_class(name).title


def describe_providers(here: LedgerServices, name: str | None = None) -> tuple[ProviderFacts, ...]:
    """Describe all providers, or one; needs no key. Raises ConfigurationError for an unknown provider."""
    if name is not None:
        require_provider(name)
    slowed = _slowed(here)
    return tuple(_facts(one, here.settings, slowed) for one in ([name] if name else PROVIDERS))


def _slowed(here: LedgerServices) -> Mapping[tuple[str, str], Slowed] | None:
    """Return the slowed accounts; None without a ledger, which the tables do not need."""
    try:
        return {(one.provider, one.account): one for one in here.ledger.dispatch.throttled_accounts()}
    except (ConfigurationError, LedgerUnavailable):
        return None


def _account(account: str, slowed: Slowed | None, rate: float) -> AccountFacts:
    if slowed is None:
        return AccountFacts(account=account, status=AccountStatus.WORKING, rate=rate)
    status, since, until = AccountStatus.SLOWED, None, None
    if slowed.paused_until is not None:
        status, since, until = AccountStatus.PAUSED, slowed.paused_at, slowed.paused_until
    elif slowed.is_open:
        status, since, until = AccountStatus.CIRCUIT_OPEN, slowed.opened_at, slowed.open_until
    now = rate * slowed.factor if status is AccountStatus.SLOWED else 0
    return AccountFacts(account=account, status=status, rate=now, since=since, until=until, reason=slowed.reason)


def _facts(name: str, settings: Settings, slowed: Mapping[tuple[str, str], Slowed] | None) -> ProviderFacts:
    kind = provider_class(name)
    try:
        missing, callback = None, load_provider(name, settings).callback
    except ConfigurationError as error:
        missing, callback = str(error), kind.callback
    rate, in_flight = (getattr(settings, f"{kind.prefix}_{limit}") for limit in ("rate", "in_flight"))
    accounts: tuple[AccountFacts, ...] | None = None
    if slowed is not None:
        names = account_keys(name, settings) if missing is None else ()
        accounts = tuple(_account(one, slowed.get((name, one)), rate) for one in names)
    return ProviderFacts(
        name=kind.name,
        title=kind.title,
        prefix=kind.prefix,
        missing=missing,
        callback=callback,
        rate=rate,
        in_flight=in_flight,
        retention=kind.retention or settings.link_life,
        prompt_limit=kind.prompt_limit,
        capabilities={**kind.capabilities, **(_SPLIT if kind.delivers_grids else {})},
        input_limit=kind.input_limit,
        accounts=accounts,
        versions=kind.versions,
    )
