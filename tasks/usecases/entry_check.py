"""Checks one entry against its provider before anything is written."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from tasks.capability_check import require_follow_ups
from tasks.usecases.entry import PRIORITIES, Entry, Place
from tasks.usecases.provider_choice import choose_provider, read_providers
from worker.errors import ConfigurationError, RequestInvalid
from worker.generation import GenerationRequest, Operation
from worker.ledger.generations import NewGeneration, dedupe_of
from worker.pricing import read_version
from worker.providers import PROVIDERS, Prompt, Provider
from worker.recipes import parse_follow_ups
from worker.services import Services

DEFAULT_PROVIDER = next(iter(PROVIDERS))


@dataclass(frozen=True, slots=True, kw_only=True)
class Defaults:
    """Defaults for fields that an entry leaves out. `provider`: one, or several as in `Entry`."""

    provider: str = DEFAULT_PROVIDER
    operation: Operation = Operation.IMAGINE
    options: Mapping[str, object] = field(default_factory=dict)
    follow_up: str = ""
    priority: int = 0


def check_entry(services: Services, entry: Entry, defaults: Defaults, options_said: frozenset[str]) -> NewGeneration:
    """`options_said`: by any entry, so that one that lacks such an option is named."""
    priority = defaults.priority if entry.priority is None else entry.priority
    with _placed(entry, "prompt"):
        refuse_unusable(entry.key, priority)
    with _placed(entry, "provider"):
        names = read_providers(entry.provider or defaults.provider)
    operation = entry.operation or defaults.operation
    request = GenerationRequest(operation=operation, prompt=entry.prompt, options={**defaults.options, **entry.options})
    with _placed(entry, "follow_up"):
        follow_up = follow_ups_of(services, defaults.follow_up if entry.follow_up is None else entry.follow_up)
    with _placed(entry, "provider", "operation", "follow_up", others=options_said):
        choice = choose_provider(services, names, request, follow_up)
    provider = choice.first
    with _placed(entry, "provider", "operation", others=options_said):
        provider.translate(request)
    with _placed(entry, "prompt"):
        refuse_unused(provider, operation, entry.prompt)
    with _placed(entry, "provider", "follow_up"):
        require_follow_ups(provider, follow_up)
    return NewGeneration(
        provider=provider.name,
        providers=choice.others,
        request=request,
        key=entry.key,
        dedupe=dedupe_for(entry.key),
        priority=priority,
        follow_up=follow_up,
    )


@contextmanager
def _placed(entry: Entry, *parts: str, others: frozenset[str] = frozenset()) -> Iterator[None]:
    """Put the place of an entry before an error in these parts of it, if one of them is its own and no default.

    To them belongs what the error is about. `others`: what an entry may have forgotten, for another one says it.
    """
    try:
        yield
    except (RequestInvalid, ConfigurationError) as error:
        about = error.about if isinstance(error, RequestInvalid) else ()
        place = str(entry.place_of(error.at if isinstance(error, RequestInvalid) else None))
        if not place or (entry.said.isdisjoint({*parts, *about}) and others.isdisjoint(about)):
            raise
        kind = RequestInvalid if isinstance(error, RequestInvalid) else ConfigurationError
        raise kind(f"{place}: {error}") from error


def refuse_unusable(key: str | None, priority: int) -> None:
    if key is not None and not key.strip():
        raise RequestInvalid("the key must not be empty")
    if priority not in PRIORITIES:
        raise RequestInvalid(f"a priority must be an integer from {PRIORITIES[0]} to {PRIORITIES[-1]}")


def refuse_unused(provider: Provider, operation: Operation, prompt: str) -> None:
    """A recipe's follow-up drops its parent's prompt where none is accepted; a person gets an error instead."""
    if prompt.strip() and provider.capabilities[operation].prompt is Prompt.UNUSED:
        raise RequestInvalid(f"{operation} accepts no prompt at {provider.title}; leave it out")


def follow_ups_of(services: Services, text: str) -> tuple[str, ...]:
    settings = services.settings
    return parse_follow_ups(
        text, max_depth=settings.darkroom_max_depth, max_follow_ups=settings.darkroom_max_follow_ups
    )


def doubts_about(services: Services, place: Place, new: NewGeneration) -> Iterator[str]:
    """What is let through because a vendor may have more than its table here says."""
    provider = services.provider(new.provider)
    version = read_version(new.request) if new.request.operation in provider.capabilities else None
    known = [float(one) for one in provider.versions]
    if version and known and re.fullmatch(r"[0-9]+(\.[0-9]+)?", version) and float(version) > max(known):
        at = f"{place}: " if str(place) else ""
        yield (
            f"{at}version {version} is newer than any known at {provider.title} (the newest is {max(known):g}): "
            "it may be charged and refused"
        )


def dedupe_for(key: str | None) -> str | None:
    return None if key is None else dedupe_of(key)
