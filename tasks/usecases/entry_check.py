"""Checks one entry against its provider before anything is written."""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace

from tasks.capability_check import require_follow_ups
from tasks.usecases.entry import PRIORITIES, Entry, Place
from tasks.usecases.inputs import InputFiles, refuse_references
from tasks.usecases.labels import check_labels
from tasks.usecases.provider_choice import choose_provider, read_providers
from worker.errors import ConfigurationError, DarkroomError, RequestInvalid
from worker.generation import GenerationRequest, Operation
from worker.ledger.generations import NewGeneration, dedupe_of
from worker.pricing import read_version
from worker.providers import PROVIDERS, Prompt, Provider, inputs_of
from worker.recipes import parse_follow_ups
from worker.services import Services

#: how Python passes on bytes that are not UTF-8, and half of a character in JSON; the ledger would store another key
_HALF = re.compile("[\ud800-\udfff]")
DEFAULT_PROVIDER = next(iter(PROVIDERS))


@dataclass(frozen=True, slots=True, kw_only=True)
class Defaults:
    """Defaults for fields that an entry leaves out. `provider`: one, or several as in `Entry`.

    `files`: where images on this machine are found; without it, options must not name any. `is_test`: made by the
    sandbox, as the request says.
    """

    provider: str = DEFAULT_PROVIDER
    operation: Operation = Operation.IMAGINE
    options: Mapping[str, object] = field(default_factory=dict)
    follow_up: str = ""
    priority: int = 0
    labels: Mapping[str, str] = field(default_factory=dict)
    files: InputFiles | None = None
    is_test: bool = False


class EntryInvalid(DarkroomError):
    """What is wrong with an entry. `parts`: of the entry and its request, in which it may be; `error`: the reason."""

    def __init__(self, error: RequestInvalid | ConfigurationError, parts: Collection[str]) -> None:
        super().__init__(str(error))
        self.error = error
        self.about = error.about if isinstance(error, RequestInvalid) else frozenset()
        self.at = error.at if isinstance(error, RequestInvalid) else None
        self.parts = frozenset(parts)


def check_entry(services: Services, entry: Entry, defaults: Defaults, options_said: frozenset[str]) -> NewGeneration:
    """Return the entry's generation; the error begins with its place, unless only defaults are wrong.

    `options_said`: by any entry, so that one that lacks such an option is named.
    """
    try:
        return generation_of(services, entry, defaults, entry.provider or defaults.provider)
    except EntryInvalid as invalid:
        place = str(entry.place_of(invalid.at))
        is_missing = "operation" in invalid.parts and not options_said.isdisjoint(invalid.about)
        if not place or (entry.said.isdisjoint(invalid.parts | invalid.about) and not is_missing):
            raise invalid.error from None
        # A subclass has arguments of its own.
        kind = RequestInvalid if isinstance(invalid.error, RequestInvalid) else ConfigurationError
        raise kind(f"{place}: {invalid}") from invalid.error


def generation_of(services: Services, entry: Entry, defaults: Defaults, providers: str) -> NewGeneration:
    """Return the entry's generation at the first of these providers that can make it. Raises EntryInvalid."""
    priority = defaults.priority if entry.priority is None else entry.priority
    operation = entry.operation or defaults.operation
    options = {**defaults.options, **entry.options} if defaults.options else entry.options
    request = GenerationRequest(operation=operation, prompt=entry.prompt, options=options)
    parts: tuple[str, ...] = ("prompt",)
    try:
        refuse_references(options)
        if defaults.files is not None:
            request = replace(request, options=defaults.files.referenced(options))
        refuse_unusable(entry.key, priority)
        parts = ("provider",)
        names = read_providers(providers)
        parts = ("follow_up",)
        follow_up = follow_ups_of(services, defaults.follow_up if entry.follow_up is None else entry.follow_up)
        parts = ("provider", "operation", "follow_up")
        choice = choose_provider(services, names, request, follow_up, is_test=defaults.is_test)
        provider = choice.first
        parts = ("provider", "operation")
        provider.translate(request)
        if defaults.files is not None and not defaults.is_test:
            defaults.files.require_reachable(provider, request)
        parts = ("prompt",)
        refuse_unused(provider, operation, entry.prompt)
        parts = ("provider", "follow_up")
        require_follow_ups(provider, follow_up)
        parts = ("labels",)
        labels = {**defaults.labels, **entry.labels}
        check_labels(labels)
    except (RequestInvalid, ConfigurationError) as error:
        raise EntryInvalid(error, parts) from error
    return NewGeneration(
        provider=provider.name,
        providers=choice.others,
        request=request,
        key=entry.key,
        dedupe=dedupe_for(entry.key),
        priority=priority,
        follow_up=follow_up,
        input=entry.input,
        row_number=entry.row_number,
        row_sha256=entry.row_sha256,
        labels=labels,
        inputs=inputs_of(request.options),
        is_test=defaults.is_test,
    )


def refuse_unusable(key: str | None, priority: int) -> None:
    if key is not None and not key.strip():
        raise RequestInvalid("the key must not be empty")
    if key is not None and _HALF.search(key):
        raise RequestInvalid(f"the key {key!r} is not valid UTF-8: enter it again")
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
    provider = services.provider_for(new.provider, is_test=new.is_test)
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
