"""Submits generations: check all, then write all or none to the ledger, and return them.

The caller wakes the dispatch step afterwards.
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace

from tasks.children import child_of
from tasks.usecases.assumed_prices import assumed_in
from tasks.usecases.entry import PRIORITIES, Entry, Place
from tasks.usecases.labels import check_labels
from tasks.usecases.names import find_generation
from tasks.usecases.prompt_file import oddities_of
from tasks.usecases.submission import Repetition, begun
from worker.errors import ConfigurationError, LedgerUnavailable, RequestInvalid
from worker.generation import Generation, GenerationRequest, Operation, State, operation_of
from worker.ledger.generations import NewGeneration, dedupe_of
from worker.pricing import read_version
from worker.providers import PROVIDERS, Prompt, Provider, check_follow_up
from worker.recipes import FollowUp, parse_follow_ups, steps_of
from worker.services import Services

DEFAULT_PROVIDER = next(iter(PROVIDERS))
#: providers list what can follow an image, but not always that a region of it can be repainted
_UNLISTED = "variation_region"


@dataclass(frozen=True, slots=True, kw_only=True)
class Defaults:
    """Defaults for fields that an entry leaves out."""

    provider: str = DEFAULT_PROVIDER
    operation: Operation = Operation.IMAGINE
    options: Mapping[str, object] = field(default_factory=dict)
    follow_up: str = ""
    priority: int = 0
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmitRequest:
    """`batch`: the name of their batch; without it, `is_batch` names the batch after the time."""

    entries: Sequence[Entry]
    defaults: Defaults = Defaults()
    batch: str | None = None
    is_batch: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowUpRequest:
    """One follow-up of an archived generation; its own prompt replaces the parent's. `labels`: besides the parent's."""

    parent_id: str
    action: str
    prompt: str | None = None
    key: str | None = None
    options: Mapping[str, object] = field(default_factory=dict)
    follow_up: str = ""
    priority: int = 0
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Checked:
    """Valid generations. `warnings`: for each, what is suspicious in its prompt; it can be submitted anyway."""

    wanted: tuple[NewGeneration, ...]
    warnings: tuple[tuple[str, ...], ...]
    batch: str | None = None
    is_batch: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmitResult:
    """`generations` are in the order of the entries; `existing`: the ids of those created by an earlier request.

    `waits`: why nothing of it is submitted yet, and what is reserved for want of a price; `known_in`: the names of the
    batches of those that exist already. Both are known once it is delivered.
    """

    generations: tuple[Generation, ...]
    warnings: tuple[tuple[str, ...], ...]
    existing: frozenset[str] = frozenset()
    waits: tuple[str, ...] = ()
    known_in: tuple[str, ...] = ()

    @property
    def batch_id(self) -> str | None:
        return next((one.batch_id for one in self.generations if one.batch_id), None)


def check(services: Services, request: SubmitRequest | FollowUpRequest) -> Checked:
    """Check a request without writing anything.

    Raises RequestInvalid or ConfigurationError for the first mistake, with its place unless it is in the defaults;
    NotFound for an unknown parent.
    """
    if isinstance(request, FollowUpRequest):
        return Checked((_on_parent(services, request),), ((),))
    _refuse_repeated_keys(request.entries)
    options = frozenset(name for entry in request.entries for name in entry.options)
    wanted = tuple(_checked(services, entry, request.defaults, options) for entry in request.entries)
    odd = oddities_of(request.entries)
    warnings = tuple(
        (*said, *_doubts(services, entry.place, new))
        for entry, said, new in zip(request.entries, odd, wanted, strict=True)
    )
    return Checked(wanted, warnings, request.batch, request.is_batch)


def submit(
    services: Services,
    checked: Checked,
    repetition: Repetition = Repetition(),  # noqa: B008  frozen
    *,
    deliver: Callable[[SubmitResult], None] = lambda _: None,
    tell: Callable[[str], None] = lambda _: None,
) -> SubmitResult:
    """Write all of it or nothing; generations with a known key are returned unchanged.

    `deliver` passes the result to the caller: until it returns, the submission counts as interrupted, and the same
    request completes it. `tell`: messages for the waiting user. Raises RequestInvalid if a key belongs to a different
    request, LedgerUnavailable if nothing was written, and CommitUnknown if something may have been.
    """
    began = services.clock()
    with begun(services, checked.wanted, checked.batch, repetition, tell) as submission:
        made = submission.write(checked.batch or (f"{began:%Y-%m-%d-%H%M%S}" if checked.is_batch else None))
        existing = frozenset(one.id for one in made if one.created_at < began)
        result = SubmitResult(generations=tuple(made), warnings=checked.warnings, existing=existing)
        deliver(result)
        submission.forget()
    return replace(result, waits=_waits(services, checked.wanted), known_in=_batches(services, made, existing))


def _refuse_repeated_keys(entries: Sequence[Entry]) -> None:
    seen: dict[str, Place] = {}
    for entry in entries:
        if entry.key is None:
            continue
        if entry.key in seen:
            raise RequestInvalid(f"{entry.place}: the key {entry.key!r} is already used in {seen[entry.key]}")
        seen[entry.key] = entry.place


def _checked(services: Services, entry: Entry, defaults: Defaults, options_said: frozenset[str]) -> NewGeneration:
    """`options_said`: by any entry, so that one that lacks such an option is named."""
    priority = defaults.priority if entry.priority is None else entry.priority
    with _placed(entry, "prompt"):
        _refuse_unusable(entry.key, priority)
    with _placed(entry, "provider"):
        provider = services.provider(entry.provider or defaults.provider)
    operation = entry.operation or defaults.operation
    request = GenerationRequest(operation=operation, prompt=entry.prompt, options={**defaults.options, **entry.options})
    with _placed(entry, "provider", "operation", others=options_said):
        provider.translate(request)
    with _placed(entry, "prompt"):
        _refuse_unused(provider, operation, entry.prompt)
    with _placed(entry, "follow_up"):
        follow_up = _follow_ups(services, defaults.follow_up if entry.follow_up is None else entry.follow_up)
    with _placed(entry, "provider", "follow_up"):
        _refuse_impossible(provider, follow_up)
    labels = {**defaults.labels, **entry.labels}
    with _placed(entry, "labels"):
        check_labels(labels)
    return NewGeneration(
        provider=provider.name,
        request=request,
        key=entry.key,
        dedupe=_dedupe(entry.key),
        priority=priority,
        follow_up=follow_up,
        labels=labels,
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
        raise type(error)(f"{place}: {error}") from error


def _on_parent(services: Services, wanted: FollowUpRequest) -> NewGeneration:
    _refuse_unusable(wanted.key, wanted.priority)
    (parent,) = services.ledger.generations.get([find_generation(services.ledger, wanted.parent_id)])
    if parent.state is not State.ARCHIVED:
        raise RequestInvalid(f"{parent.id} is {parent.state}: a follow-up needs an archived parent")
    provider, action = services.provider(parent.provider), wanted.action
    operation = operation_of(action)
    capability = provider.capabilities.get(operation) if operation else None
    is_known = capability is not None and action in capability.actions
    if action not in parent.actions and not (is_known and action == _UNLISTED):
        offered = f"only {', '.join(parent.actions)}" if parent.actions else "and no other action"
        raise RequestInvalid(f"{parent.id} does not offer {action!r}, {offered}")
    if operation is None:
        raise RequestInvalid(f"{parent.id} offers {action!r}, which Darkroom does not support")
    then = _follow_ups(services, wanted.follow_up)
    _refuse_impossible(provider, then)
    new = child_of(parent, FollowUp(action, then), dedupe=_dedupe(wanted.key))
    if wanted.prompt is not None:
        _refuse_unused(provider, operation, wanted.prompt)
        new = replace(new, request=replace(new.request, prompt=wanted.prompt))
    request = replace(new.request, options=dict(wanted.options))
    provider.translate(request)
    return replace(new, key=wanted.key, priority=wanted.priority, request=request, labels=wanted.labels)


def _refuse_unusable(key: str | None, priority: int) -> None:
    if key is not None and not key.strip():
        raise RequestInvalid("the key must not be empty")
    if priority not in PRIORITIES:
        raise RequestInvalid(f"a priority must be an integer from {PRIORITIES[0]} to {PRIORITIES[-1]}")


def _refuse_unused(provider: Provider, operation: Operation, prompt: str) -> None:
    """A recipe's follow-up drops its parent's prompt where none is accepted; a person gets an error instead."""
    if prompt.strip() and provider.capabilities[operation].prompt is Prompt.UNUSED:
        raise RequestInvalid(f"{operation} accepts no prompt at {provider.title}; leave it out")


def _follow_ups(services: Services, text: str) -> tuple[str, ...]:
    settings = services.settings
    return parse_follow_ups(
        text, max_depth=settings.darkroom_max_depth, max_follow_ups=settings.darkroom_max_follow_ups
    )


def _refuse_impossible(provider: Provider, follow_ups: Sequence[str]) -> None:
    for item in follow_ups:
        for operation, action in steps_of(item):
            try:
                check_follow_up(provider, operation, action)
            except RequestInvalid as error:
                raise RequestInvalid(f"follow-up {item!r}: {error}") from error


def _doubts(services: Services, place: Place, new: NewGeneration) -> Iterator[str]:
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


def _batches(services: Services, made: Sequence[Generation], existing: Collection[str]) -> tuple[str, ...]:
    ids = {one.batch_id for one in made if one.id in existing and one.batch_id}
    with suppress(LedgerUnavailable):
        return tuple(sorted(services.ledger.assets.batch_names(ids).values())) if ids else ()
    return ()


def _dedupe(key: str | None) -> str | None:
    return None if key is None else dedupe_of(key)


def _waits(services: Services, wanted: Sequence[NewGeneration]) -> tuple[str, ...]:
    said: list[str] = []
    # All is saved and delivered: a ledger that fails now does not make it a failure.
    with suppress(LedgerUnavailable):
        if (gate := services.ledger.restore.state()) and gate.complaint:
            said.append(f"saved, but {gate.complaint}")
    try:
        prices = services.prices
    except ConfigurationError as error:
        # Workers need the price file before they submit anything.
        return (*said, f"saved, but nothing is submitted until this is fixed: {error}")
    return (*said, *(assumed_in(wanted, prices, services.settings.darkroom_prices) if prices else ()))
