"""Each provider's operations and options, and the settings that are missing on this machine."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from worker.errors import ConfigurationError
from worker.generation import Operation
from worker.providers import PROVIDERS, Callback, Capability, Prompt, Versions, load_provider, provider_class
from worker.settings import Settings

__all__ = [
    "NORMALISED",
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
#: what is done here with the grids that a provider delivers
_SPLIT = {Operation.SPLIT: Capability(prompt=Prompt.UNUSED, actions=("split",))}


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderFacts:
    """One provider on this machine. `missing`: settings it still needs; `retention`: the lifetime of its links.

    `prefix`: the first word of its settings; `rate`: new submissions per second.
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
        raise ConfigurationError(f"unknown provider {name!r}; expected one of {', '.join(PROVIDERS)}")


def key_settings() -> tuple[str, ...]:
    """Return the name of each provider's key setting."""
    return tuple(provider_class(name).key_setting for name in PROVIDERS)


def provider_title(name: str) -> str:
    """Return the provider's name as its own pages spell it."""
    return provider_class(name).title


def describe_providers(settings: Settings, name: str | None = None) -> tuple[ProviderFacts, ...]:
    """Describe all providers, or one; needs no key. Raises ConfigurationError for an unknown provider."""
    if name is not None:
        require_provider(name)
    return tuple(_facts(one, settings) for one in ([name] if name else PROVIDERS))


def _facts(name: str, settings: Settings) -> ProviderFacts:
    kind = provider_class(name)
    try:
        missing, callback = None, load_provider(name, settings).callback
    except ConfigurationError as error:
        missing, callback = str(error), kind.callback
    rate, in_flight = (getattr(settings, f"{kind.prefix}_{limit}") for limit in ("rate", "in_flight"))
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
        versions=kind.versions,
    )
