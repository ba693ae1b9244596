"""What the user wishes, checked and ready to be written down: nothing is written before all of it was checked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tasks.usecases.prompt_file.entries import Entry
from worker.errors import ConfigurationError, RequestInvalid
from worker.generation import GenerationRequest, Operation, State, operation_of
from worker.ledger.creation import NewGeneration
from worker.providers import Provider
from worker.providers.capability import Prompt, check_follow_up
from worker.recipe import FollowUp, parse_follow_ups, steps_of
from worker.services import Services

#: providers list what can follow a picture, but not always that a region of it can be painted anew
_UNLISTED = "variation_region"


@dataclass(frozen=True, slots=True)
class Defaults:
    """What the command line says for every wish that does not say otherwise."""

    provider: str
    operation: Operation
    options: Mapping[str, Any]
    follow_up: str
    priority: int


def from_entries(here: Services, entries: Sequence[Entry], defaults: Defaults) -> list[NewGeneration]:
    """Raises RequestInvalid or ConfigurationError with the place of the first that is wrong."""
    wanted = []
    for entry in entries:
        try:
            wanted.append(_wish(here, entry, defaults))
        except (RequestInvalid, ConfigurationError) as error:
            at = getattr(error, "at", None)
            if at is None and (not entry.where or _command_line_is_wrong(here, defaults, str(error))):
                raise
            raise type(error)(f"{entry.place(at)}: {error}") from error
    return wanted


def on_parent(
    here: Services, parent_id: str, action: str, defaults: Defaults, *, prompt: str | None, key: str | None
) -> NewGeneration:
    """A follow-up of an archived generation; a prompt of its own replaces its parent's."""
    (parent,) = here.ledger.queries.get([parent_id])
    if parent.state is not State.ARCHIVED:
        raise RequestInvalid(f"{parent.id} is {parent.state}: a follow-up needs a parent that is archived")
    provider = here.provider(parent.provider)
    operation = operation_of(action)
    capability = provider.capabilities.get(operation) if operation else None
    is_known = capability is not None and action in capability.actions
    if action not in parent.actions and not (is_known and action == _UNLISTED):
        offered = f"only {', '.join(parent.actions)}" if parent.actions else "and no other action"
        raise RequestInvalid(f"{parent.id} does not offer {action!r}, {offered}")
    if operation is None:
        raise RequestInvalid(f"{parent.id} offers {action!r}, but Darkroom does not know what that is")
    # With it comes Celery, which reads the settings when it is imported, so not before they are complete.
    from tasks.follow_up import child_of  # noqa: PLC0415

    new = child_of(parent, FollowUp(action, _follow_ups(here, provider, defaults.follow_up)), dedupe=_dedupe(key))
    if prompt is not None:
        _refuse_unused(provider, operation, prompt)
        new = replace(new, request=replace(new.request, prompt=prompt))
    request = replace(new.request, options=dict(defaults.options))
    provider.translate(request)
    return replace(new, key=key, priority=defaults.priority, request=request)


def _wish(here: Services, entry: Entry, defaults: Defaults) -> NewGeneration:
    provider = here.provider(entry.provider or defaults.provider)
    operation = entry.operation or defaults.operation
    request = GenerationRequest(operation, entry.prompt, {**defaults.options, **entry.options})
    provider.translate(request)
    _refuse_unused(provider, operation, entry.prompt)
    return NewGeneration(
        provider.name,
        request,
        key=entry.key,
        dedupe=_dedupe(entry.key),
        priority=defaults.priority if entry.priority is None else entry.priority,
        follow_up=_follow_ups(here, provider, defaults.follow_up if entry.follow_up is None else entry.follow_up),
    )


def _command_line_is_wrong(here: Services, defaults: Defaults, sentence: str) -> bool:
    """Whether no line of the file is to blame for this error."""
    try:
        provider = here.provider(defaults.provider)
        provider.translate(GenerationRequest(defaults.operation, "any", defaults.options))
        _follow_ups(here, provider, defaults.follow_up)
    except (RequestInvalid, ConfigurationError) as error:
        return str(error) == sentence
    return False


def _refuse_unused(provider: Provider, operation: Operation, prompt: str) -> None:
    """A follow-up of a recipe leaves out its parent's prompt where none is taken; a person hears that it is."""
    if prompt.strip() and provider.capabilities[operation].prompt is Prompt.UNUSED:
        raise RequestInvalid(f"{operation} takes no prompt at {provider.title}; leave it out")


def _follow_ups(here: Services, provider: Provider, text: str) -> tuple[str, ...]:
    settings = here.settings
    items = parse_follow_ups(
        text, max_depth=settings.darkroom_max_depth, max_follow_ups=settings.darkroom_max_follow_ups
    )
    for item in items:
        for operation, action in steps_of(item):
            try:
                check_follow_up(provider, operation, action)
            except RequestInvalid as error:
                raise RequestInvalid(f"follow-up {item!r}: {error}") from error
    return items


def _dedupe(key: str | None) -> str | None:
    return None if key is None else f"key:{key}"
