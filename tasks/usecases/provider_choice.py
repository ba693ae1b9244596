"""Providers in order of preference: `kie,acedata`."""

from collections.abc import Sequence
from dataclasses import dataclass

from tasks.capability_check import require_expressible
from tasks.shown import shown
from tasks.usecases.providers import require_provider
from worker.errors import RequestInvalid
from worker.generation import GenerationRequest
from worker.providers import Provider
from worker.services import Services


@dataclass(frozen=True, slots=True)
class ProviderChoice:
    """`first`: the provider to use; `others`: where the generation may go instead, in this order."""

    first: Provider
    others: tuple[str, ...] = ()


def read_providers(text: str) -> tuple[str, ...]:
    """Return the names in a comma-separated list, in order.

    Raises ConfigurationError for an unknown name, RequestInvalid for a duplicate or an empty name.
    """
    names = tuple(name.strip() for name in text.split(","))
    for place, name in enumerate(names):
        if not name and len(names) > 1:
            raise RequestInvalid(f"a name is missing in the providers {shown(text)!r}: write them like kie,acedata")
        require_provider(name)
        if name in names[:place]:
            raise RequestInvalid(f"the provider {name} appears twice in {shown(text)!r}; name each once")
    return names


def choose_provider(
    services: Services,
    names: Sequence[str],
    request: GenerationRequest,
    follow_ups: Sequence[str],
    *,
    is_test: bool = False,
) -> ProviderChoice:
    """Return the first provider that can make the request and its follow-ups, and the others that can.

    All must be configured. A single provider is returned without this check. Raises ConfigurationError; RequestInvalid
    if none can, with each one's reason.
    """
    providers = [services.provider_for(name, is_test=is_test) for name in names]
    if len(providers) == 1:
        return ProviderChoice(providers[0])
    able, refusals = able_providers(providers, request, follow_ups)
    if not able:
        reasons = "; ".join(f"{name}: {error}" for name, error in refusals.items())
        about = frozenset[str]().union(*(error.about for error in refusals.values()))
        raise RequestInvalid(f"none of the providers {', '.join(names)} can do this: {reasons}", about=about)
    # In the sandbox, no provider is ever out of service.
    return ProviderChoice(able[0], () if is_test else tuple(provider.name for provider in able[1:]))


def able_providers(
    providers: Sequence[Provider], request: GenerationRequest, follow_ups: Sequence[str]
) -> tuple[list[Provider], dict[str, RequestInvalid]]:
    """Return those that can make the request and its follow-ups and, by name, why the others cannot."""
    able: list[Provider] = []
    refusals: dict[str, RequestInvalid] = {}
    for provider in providers:
        try:
            require_expressible(provider, request, follow_ups)
        except RequestInvalid as error:
            refusals[provider.name] = error
        else:
            able.append(provider)
    return able, refusals
