"""Checks one entry against its provider before anything is written."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from tasks.capability_check import require_follow_ups
from tasks.usecases.entry import PRIORITIES, Entry, Place
from tasks.usecases.inputs import InputFiles
from tasks.usecases.labels import check_labels
from tasks.usecases.notify_address import notify_address
from tasks.usecases.provider_choice import choose_provider, read_providers
from tasks.usecases.recipes import recipe_of, require_steps
from worker.errors import ConfigurationError, DarkroomError, RequestInvalid
from worker.generation import GenerationRequest, Operation
from worker.ledger.generations import NewGeneration, dedupe_of
from worker.pricing import read_version
from worker.providers import PROVIDERS, Prompt, Provider, inputs_of
from worker.recipes import Recipe, parse_follow_ups
from worker.services import Services

#: Python's form of bytes that are not UTF-8, and half of a surrogate pair in JSON; the ledger would store a different
#: key
_HALF = re.compile("[\ud800-\udfff]")
DEFAULT_PROVIDER = next(iter(PROVIDERS))


@dataclass(frozen=True, slots=True, kw_only=True)
class Defaults:
    """Defaults for fields that an entry leaves out. `provider`: one, or several as in `Entry`.

    `files`: where to find images that are not links; without it, options may name only links and stored images.
    `created_by`: who requested it, for the history. `is_test`: made by the sandbox, as requested.
    """

    provider: str = DEFAULT_PROVIDER
    operation: Operation = Operation.IMAGINE
    options: Mapping[str, object] = field(default_factory=dict)
    follow_up: str = ""
    recipe: str | None = None
    priority: int = 0
    labels: Mapping[str, str] = field(default_factory=dict)
    files: InputFiles | None = None
    created_by: str | None = None
    is_test: bool = False


class EntryInvalid(DarkroomError):
    """A mistake in an entry. `parts`: the parts of the entry and its request that it may be in; `error`: the reason."""

    def __init__(self, error: RequestInvalid | ConfigurationError, parts: Collection[str]) -> None:
        super().__init__(str(error))
        self.error = error
        self.about = error.about if isinstance(error, RequestInvalid) else frozenset()
        self.at = error.at if isinstance(error, RequestInvalid) else None
        self.parts = frozenset(parts)


def check_entry(services: Services, entry: Entry, defaults: Defaults, options_said: frozenset[str]) -> NewGeneration:
    """Return the entry's generation; the error begins with its place, unless only defaults are wrong.

    `options_said`: options set by any entry, so that an entry that lacks one is named.
    """
    try:
        return generation_of(services, entry, defaults, entry.provider or defaults.provider)
    except EntryInvalid as invalid:
        place = str(entry.place_of(invalid.at))
        is_missing = "operation" in invalid.parts and not options_said.isdisjoint(invalid.about)
        if not place or (entry.said.isdisjoint(invalid.parts | invalid.about) and not is_missing):
            raise invalid.error from None
        # A subclass has different arguments.
        kind = RequestInvalid if isinstance(invalid.error, RequestInvalid) else ConfigurationError
        raise kind(f"{place}: {invalid}") from invalid.error


def generation_of(services: Services, entry: Entry, defaults: Defaults, providers: str) -> NewGeneration:
    """Return the entry's generation at the first of these providers that can make it. Raises EntryInvalid."""
    priority = defaults.priority if entry.priority is None else entry.priority
    operation = entry.operation or defaults.operation
    options = {**defaults.options, **entry.options} if defaults.options else entry.options
    request = GenerationRequest(operation=operation, prompt=entry.prompt, options=options)
    files = defaults.files or InputFiles(services)
    parts: tuple[str, ...] = ("prompt",)
    try:
        request = replace(request, options=files.referenced(options))
        refuse_unusable(entry.key, priority)
        parts = ("provider",)
        names = read_providers(providers)
        parts = ("follow_up",)
        follow_up = follow_ups_of(services, defaults.follow_up if entry.follow_up is None else entry.follow_up)
        parts = ("recipe", "follow_up")
        recipe = recipe_of(services.settings, defaults.recipe if entry.recipe is None else entry.recipe)
        refuse_both(recipe, follow_up)
        parts = ("provider", "operation", "follow_up")
        choice = choose_provider(services, names, request, follow_up, is_test=defaults.is_test)
        provider = choice.first
        parts = ("provider", "operation")
        provider.translate(request)
        if not defaults.is_test:
            files.require_usable(provider, request)
        parts = ("prompt",)
        refuse_unused(provider, operation, entry.prompt)
        parts = ("provider", "follow_up")
        require_follow_ups(provider, follow_up)
        if recipe is not None:
            parts = ("provider", "recipe")
            require_steps(provider, recipe, request, services.prices)
        parts = ("labels",)
        labels = {**defaults.labels, **entry.labels}
        check_labels(labels)
        parts = ("notify",)
        notify = notify_address(services.settings, entry.notify)
    except (RequestInvalid, ConfigurationError) as error:
        raise EntryInvalid(error, parts) from error
    return NewGeneration(
        provider=provider.name,
        providers=files.fitting(choice.others, request),
        request=request,
        key=entry.key,
        dedupe=dedupe_for(entry.key),
        priority=priority,
        follow_up=follow_up,
        recipe=recipe,
        input=entry.input,
        row_number=entry.row_number,
        row_sha256=entry.row_sha256,
        labels=labels,
        inputs=inputs_of(request.options),
        created_by=defaults.created_by,
        is_test=defaults.is_test,
        notify=notify,
    )


def refuse_both(recipe: Recipe | None, follow_up: Sequence[str]) -> None:
    if recipe is not None and follow_up:
        raise RequestInvalid("give either a recipe or follow-ups, which are its short form")


def other_mistakes(
    services: Services, entry: Entry, defaults: Defaults, providers: str, first: EntryInvalid
) -> Iterator[EntryInvalid]:
    """Yield further mistakes in its options: a provider's check stops at the first."""
    options, removed, about = dict(entry.options), set[str](), first.about
    while wrong := about & options.keys():
        removed |= wrong
        options = {name: value for name, value in options.items() if name not in wrong}
        try:
            generation_of(services, replace(entry, options=options), defaults, providers)
        except EntryInvalid as other:
            about = other.about
            # With the wrong options removed, required ones may be missing.
            if about and not about & removed:
                yield other
        else:
            return


def refuse_unusable(key: str | None, priority: int) -> None:
    if key is not None and not key.strip():
        raise RequestInvalid("the key must not be empty", about=("key",))
    if key is not None and _HALF.search(key):
        raise RequestInvalid(f"the key {key!r} is not valid UTF-8: enter it again", about=("key",))
    if priority not in PRIORITIES:
        told = f"a priority must be an integer from {PRIORITIES[0]} to {PRIORITIES[-1]}"
        raise RequestInvalid(told, about=("priority",))


def refuse_unused(provider: Provider, operation: Operation, prompt: str) -> None:
    """Raise RequestInvalid for an unusable prompt; a recipe's follow-up drops its parent's prompt instead."""
    if prompt.strip() and provider.capabilities[operation].prompt is Prompt.UNUSED:
        raise RequestInvalid(f"{operation} accepts no prompt at {provider.title}; leave it out")


def follow_ups_of(services: Services, text: str) -> tuple[str, ...]:
    settings = services.settings
    return parse_follow_ups(
        text, max_depth=settings.darkroom_max_depth, max_follow_ups=settings.darkroom_max_follow_ups
    )


def doubts_about(services: Services, place: Place, new: NewGeneration) -> Iterator[str]:
    """Yield doubts about what is accepted because a vendor may support more than our table says."""
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
